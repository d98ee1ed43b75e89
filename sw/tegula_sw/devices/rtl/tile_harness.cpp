// The Verilated tile with a clock, a host on its AXI4-Lite port and a memory on its AXI4 port, as a
// library with a C interface. Functions return -1 on a violation; tile_message says which.
#include <memory>
#include <string>
#include <utility>

#include "Vtile.h"
#include "axi_memory.h"
#include "trace_log.h"
#include "verilated.h"
#if VM_TRACE
#include <unistd.h>

#include <cerrno>

#include "verilated_vcd_c.h"
#endif

namespace {

constexpr uint64_t kRegisterCycles = 10000;  // an AXI4-Lite access that takes longer hangs
constexpr int kResetCycles = 4;

#if VM_TRACE
// Waves into a file that is open. What it does not take is dropped, and the first error kept:
// Verilator itself would abort the process.
class WaveFile : public VerilatedVcdFile {
   public:
    explicit WaveFile(int descriptor) : descriptor_(descriptor) {}
    bool open(const std::string&) override { return true; }
    void close() override {}
    ssize_t write(const char* bytes, ssize_t size) override {
        if (error_) return size;
        const ssize_t written = ::write(descriptor_, bytes, size);
        if (written >= 0 || errno == EINTR || errno == EAGAIN) return written;
        error_ = errno;
        return size;
    }
    int error() const { return error_; }

   private:
    int descriptor_;
    int error_ = 0;
};
#endif

class Tile {
   public:
    Tile(uint64_t latency_cycles, uint64_t stall, uint64_t seed, const Coupling& coupling,
         int waves)
        : memory(latency_cycles, stall, seed, coupling), top_(&context_) {
#if VM_TRACE
        context_.traceEverOn(true);
        wave_file_ = std::make_unique<WaveFile>(waves);
        waves_ = std::make_unique<VerilatedVcdC>(wave_file_.get());
        top_.trace(waves_.get(), 99);
        waves_->open("waves");
#else
        (void)waves;
#endif
        top_.S_AXIL(bready) = top_.S_AXIL(rready) = 1;
        top_.rst = 1;
        for (int cycle = 0; cycle < kResetCycles; ++cycle) tick();
        top_.rst = 0;
        tick();
    }
    ~Tile() { top_.final(); }

    // Completes the waves; 0, or the error number of what could not be written.
    int close_waves() {
#if VM_TRACE
        waves_->close();
        return wave_file_->error();
#else
        return 0;
#endif
    }

    void tick() {
        memory.drive(top_);
        top_.clk = 0;
        top_.eval();
        dump(0);
        trace.sample(top_, memory.cycle());
        memory.sample(top_);
        const bool address = top_.S_AXIL(awready), data = top_.S_AXIL(wready);
        const bool read = top_.S_AXIL(arready);
        written_ = top_.S_AXIL(bvalid);
        if (written_) response_ = top_.S_AXIL(bresp);
        answered_ = top_.S_AXIL(rvalid);
        if (answered_) value_ = top_.S_AXIL(rdata), response_ = top_.S_AXIL(rresp);
        top_.clk = 1;
        top_.eval();
        dump(1);
        memory.retire(top_);
        if (address) top_.S_AXIL(awvalid) = 0;
        if (data) top_.S_AXIL(wvalid) = 0;
        if (read) top_.S_AXIL(arvalid) = 0;
    }

    // Whether it was answered with SLVERR.
    bool write(uint32_t offset, uint32_t value) {
        top_.S_AXIL(awaddr) = offset, top_.S_AXIL(awvalid) = 1;
        top_.S_AXIL(wdata) = value, top_.S_AXIL(wstrb) = 15, top_.S_AXIL(wvalid) = 1;
        wait_for(written_, offset);
        if (response_ == kSlaveError) return true;
        require_okay(offset);
        return false;
    }
    uint32_t read(uint32_t offset) {
        top_.S_AXIL(araddr) = offset, top_.S_AXIL(arvalid) = 1;
        wait_for(answered_, offset);
        require_okay(offset);
        return value_;
    }

    // Until the interrupt (1), or for `cycles` (0).
    int run(uint64_t cycles) {
        for (uint64_t cycle = 0; cycle < cycles && !top_.irq; ++cycle) tick();
        if (!top_.irq) return 0;
        if (memory.outstanding())
            memory.violation("the interrupt came with " + std::to_string(memory.outstanding()) +
                             " bursts or beats under way");
        return 1;
    }

    bool irq() const { return top_.irq; }

    AxiMemory memory;
    TraceLog trace;
    std::string message;

   private:
    void wait_for(const bool& event, uint32_t offset) {
        uint64_t cycles = 0;
        do {
            tick();
            if (++cycles > kRegisterCycles)
                throw std::runtime_error("AXI4-Lite: no answer at offset " + std::to_string(offset));
        } while (!event);
    }
    void require_okay(uint32_t offset) const {
        if (response_ != kOkay)
            throw std::runtime_error("AXI4-Lite: response " + std::to_string(response_) +
                                     " at offset " + std::to_string(offset));
    }
    void dump(int phase) {
#if VM_TRACE
        waves_->dump(memory.cycle() * 10 + 5 * phase);
#else
        (void)phase;
#endif
    }

    VerilatedContext context_;
    Vtile top_;
#if VM_TRACE
    std::unique_ptr<WaveFile> wave_file_;
    std::unique_ptr<VerilatedVcdC> waves_;
#endif
    bool written_ = false, answered_ = false;
    uint32_t value_ = 0, response_ = 0;
};

template <class Action>
int guarded(Tile* tile, Action action) {
    try {
        return action();
    } catch (const std::exception& error) {
        tile->message = error.what();
        return -1;
    }
}

}  // namespace

extern "C" {
Tile* tile_new(uint64_t latency, uint64_t stall, uint64_t seed, const Coupling* coupling,
               int waves) {
    return new Tile(latency, stall, seed, *coupling, waves);
}
int tile_delete(Tile* tile) {
    const int error = tile->close_waves();
    delete tile;
    return error;
}
void tile_memory(Tile* tile, uint8_t* bytes, uint64_t size, uint64_t base) {
    tile->memory.attach(bytes, size, base);
}
void tile_faults(Tile* tile, const Fault* faults, uint64_t count) {
    tile->memory.set_faults(faults, count);
}
int tile_write(Tile* tile, uint32_t offset, uint32_t value) {
    return guarded(tile, [=] { return static_cast<int>(tile->write(offset, value)); });
}
int tile_read(Tile* tile, uint32_t offset, uint32_t* value) {
    return guarded(tile, [=] { return *value = tile->read(offset), 0; });
}
int tile_step(Tile* tile, uint64_t cycles) {
    return guarded(tile, [=] {
        for (uint64_t cycle = 0; cycle < cycles; ++cycle) tile->tick();
        return 0;
    });
}
int tile_run(Tile* tile, uint64_t cycles) {
    return guarded(tile, [=] { return tile->run(cycles); });
}
int tile_irq(Tile* tile) { return tile->irq(); }
int tile_take_moved(Tile* tile) { return tile->memory.take_moved(); }
void tile_clear_counts(Tile* tile) { tile->memory.clear_counts(); }
uint64_t tile_cycle(Tile* tile) { return tile->memory.cycle(); }
uint64_t tile_read_beats(Tile* tile) { return tile->memory.read_beats(); }
uint64_t tile_write_beats(Tile* tile) { return tile->memory.write_beats(); }
uint64_t tile_coupled(Tile* tile) { return tile->memory.coupled(); }
void tile_trace_start(Tile* tile) { tile->trace.start(); }
void tile_trace_stop(Tile* tile) { tile->trace.stop(); }
uint64_t tile_trace_size(Tile* tile) { return tile->trace.size(); }
uint64_t tile_trace_changes(Tile* tile, uint32_t port, const Change** changes) {
    *changes = tile->trace.changes(port).data();
    return tile->trace.changes(port).size();
}
const char* tile_message(Tile* tile) { return tile->message.c_str(); }
}
