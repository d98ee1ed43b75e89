// Sums, differences and comparisons as carry chains of ECP5 (CCU2C), where carry-in is a constant.
//
// nextpnr puts a cell in front of a chain to make a constant carry. Here the first half of the first
// cell makes the carry of bit 0 (its LUT4 is 0, its LUT2 that carry, so that it takes none), and
// bit 0 itself is a LUT. Of an odd width a half is left: its sum is the carry-out, which otherwise
// needs a cell of its own.

(* techmap_celltype = "$alu" *)
module constant_carry_alu (A, B, CI, BI, X, Y, CO);
    parameter A_SIGNED = 0;
    parameter B_SIGNED = 0;
    parameter A_WIDTH = 1;
    parameter B_WIDTH = 1;
    parameter Y_WIDTH = 1;
    parameter _TECHMAP_CONSTMSK_CI_ = 0;
    parameter _TECHMAP_CONSTVAL_CI_ = 0;
    parameter _TECHMAP_CONSTMSK_BI_ = 0;
    parameter _TECHMAP_CONSTVAL_BI_ = 0;

    (* force_downto *) input [A_WIDTH-1:0] A;
    (* force_downto *) input [B_WIDTH-1:0] B;
    input CI, BI;
    (* force_downto *) output [Y_WIDTH-1:0] X, Y, CO;

    // Below five bits LUTs are smaller.
    wire _TECHMAP_FAIL_ = Y_WIDTH <= 4 || !_TECHMAP_CONSTMSK_CI_ || !_TECHMAP_CONSTMSK_BI_;

    localparam CELLS = (Y_WIDTH + 1) / 2;
    localparam CARRY = _TECHMAP_CONSTVAL_CI_ ? (_TECHMAP_CONSTVAL_BI_ ? 4'b1011 : 4'b1110)
                                             : (_TECHMAP_CONSTVAL_BI_ ? 4'b0010 : 4'b1000);
    localparam SUM = 16'b1001_0110_1010_1010;

    (* force_downto *) wire [Y_WIDTH-1:0] a, b;
    \$pos #(.A_SIGNED(A_SIGNED), .A_WIDTH(A_WIDTH), .Y_WIDTH(Y_WIDTH)) extend_a (.A(A), .Y(a));
    \$pos #(.A_SIGNED(B_SIGNED), .A_WIDTH(B_WIDTH), .Y_WIDTH(Y_WIDTH)) extend_b (.A(B), .Y(b));

    (* force_downto *) wire [2*CELLS-1:0] first = a;
    (* force_downto *) wire [2*CELLS-1:0] second = b;
    (* force_downto *) wire [2*CELLS-1:0] inverted = {Y_WIDTH{BI}};
    (* force_downto *) wire [2*CELLS-1:0] sum;
    (* force_downto *) wire [CELLS-1:0] chain;

    genvar i;
    generate for (i = 0; i < CELLS; i = i + 1) begin: cell_
        CCU2C #(
            .INIT0(i == 0 ? {12'b0, CARRY} : SUM),
            .INIT1(SUM),
            .INJECT1_0("NO"),
            .INJECT1_1("NO")
        ) ccu2c (
            .CIN(i == 0 ? 1'b0 : chain[i == 0 ? 0 : i - 1]),
            .A0(first[2*i]), .B0(second[2*i]), .C0(inverted[2*i]), .D0(1'b1),
            .A1(first[2*i+1]), .B1(second[2*i+1]), .C1(inverted[2*i+1]), .D1(1'b1),
            .S0(sum[2*i]), .S1(sum[2*i+1]),
            .COUT(chain[i])
        );
    end endgenerate

    generate for (i = 0; i < Y_WIDTH; i = i + 1) begin: bit_
        wire other = b[i] ^ BI;
        if (i % 2)
            assign CO[i] = chain[i / 2];
        else if (i == Y_WIDTH - 1)
            assign CO[i] = sum[i + 1];
        else
            assign CO[i] = (a[i] & other) | ((a[i] | other) & (i == 0 ? CI : CO[i == 0 ? 0 : i - 1]));
    end endgenerate

    assign X = a ^ b ^ {Y_WIDTH{BI}};
    assign Y = {sum[Y_WIDTH-1:1], X[0] ^ CI};
endmodule
