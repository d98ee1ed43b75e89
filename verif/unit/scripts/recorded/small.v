module counter(clk, rst, step, total);
  input clk;
  wire clk;
  input rst;
  wire rst;
  input [3:0] step;
  wire [3:0] step;
  output [7:0] total;
  reg [7:0] total = 8'h00;
  always @(posedge clk)
    if (rst) total <= 8'h00;
    else total <= total + step;
endmodule

module parity(clk, total, odd);
  input clk;
  wire clk;
  input [7:0] total;
  wire [7:0] total;
  output odd;
  reg odd = 1'h0;
  always @(posedge clk)
    odd <= ^(total + {total[3:0], 4'h5});
endmodule

module tegula_small(clk, rst, step, odd);
  input clk;
  wire clk;
  input rst;
  wire rst;
  input [3:0] step;
  wire [3:0] step;
  output odd;
  wire odd;
  wire [7:0] counter_total;
  counter counter (
    .clk(clk),
    .rst(rst),
    .step(step),
    .total(counter_total)
  );
  parity parity (
    .clk(clk),
    .total(counter_total),
    .odd(odd)
  );
endmodule
