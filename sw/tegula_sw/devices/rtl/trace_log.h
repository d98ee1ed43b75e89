// What a traced tile shows, kept as changes: a word holds from its cycle to that of the next one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "Vtile.h"

struct Change {
    uint64_t cycle, word;
};

#if TEGULA_TRACE

class TraceLog {
   public:
    static constexpr size_t kPorts = 6;  // in the order of tegula.engine.trace.PORTS

    void start() {
        for (size_t port = 0; port < kPorts; ++port) changes_[port].clear();
        active_ = true;
    }
    void stop() { active_ = false; }

    // Look at the settled outputs just before the clock edge that ends `cycle`.
    void sample(const Vtile& tile, uint64_t cycle) {
        if (!active_) return;
        keep(0, cycle, tile.trace_control);
        keep(1, cycle, tile.trace_tensor);
        keep(2, cycle, tile.trace_vector);
        keep(3, cycle, tile.trace_activation);
        keep(4, cycle, tile.trace_load);
        keep(5, cycle, tile.trace_store);
    }

    const std::vector<Change>& changes(size_t port) const { return changes_[port]; }
    size_t size() const {
        size_t total = 0;
        for (const std::vector<Change>& port : changes_) total += port.size();
        return total;
    }

   private:
    void keep(size_t port, uint64_t cycle, uint64_t word) {
        std::vector<Change>& changes = changes_[port];
        if (changes.empty() || changes.back().word != word) changes.push_back({cycle, word});
    }

    std::vector<Change> changes_[kPorts];
    bool active_ = false;
};

#else

class TraceLog {
   public:
    void start() {}
    void stop() {}
    void sample(const Vtile&, uint64_t) {}
    const std::vector<Change>& changes(size_t) const { return none_; }
    size_t size() const { return 0; }

   private:
    std::vector<Change> none_;
};

#endif
