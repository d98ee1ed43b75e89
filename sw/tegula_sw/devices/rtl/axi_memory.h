// Memory at the tile's AXI4 port, and the judge of the protocol there (AMBA AXI4, IHI 0022H).
//
// It answers at the extremes that AXI allows, so that a missing dependency shows: a read sees memory
// as it is when its address is accepted, a write lands when its response is given. Bursts complete in
// order, and each channel moves by itself, but for what its `Coupling` says. Whatever the tile does
// against the protocol is thrown as std::runtime_error.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "Vtile.h"
#include "coupling.h"

// How Verilator spells the ports m_axi__... and s_axil__... (it encodes double underscores).
#define M_AXI(name) m_axi___05F##name
#define S_AXIL(name) s_axil___05F##name
// The address that the tile offers on the channel ar or aw.
#define OFFERED_ADDRESS(tile, channel)                                                \
    Address {                                                                         \
        tile.M_AXI(channel##addr), tile.M_AXI(channel##len), tile.M_AXI(channel##id), \
            uint64_t(tile.M_AXI(channel##size)) | tile.M_AXI(channel##burst) << 3 |   \
                tile.M_AXI(channel##lock) << 5 | tile.M_AXI(channel##cache) << 6 |    \
                tile.M_AXI(channel##prot) << 10 | tile.M_AXI(channel##qos) << 13 |    \
                tile.M_AXI(channel##region) << 17                                     \
    }

enum Response : uint8_t { kOkay = 0, kSlaveError = 2, kDecodeError = 3 };

// Bytes first..last answer `response`.
struct Fault {
    uint64_t first, last, response;
};

class AxiMemory {
   public:
    static constexpr uint64_t kBeatBytes = sizeof(Vtile::M_AXI(rdata));
    static constexpr size_t kMaxBursts = 64;     // accepted and not answered, a direction
    static constexpr size_t kMaxEarlyBeats = 256; // write beats accepted before their address

    // `stall` of 2^32: the chance that a channel does nothing in a cycle.
    AxiMemory(uint64_t latency_cycles, uint64_t stall, uint64_t seed, const Coupling& coupling)
        : latency_(std::max<uint64_t>(latency_cycles, 1)),
          stall_(stall),
          random_(seed),
          coupler_(coupling, seed) {}

    void attach(uint8_t* bytes, uint64_t size, uint64_t base) {
        bytes_ = bytes, size_ = size, base_ = base;
    }
    void set_faults(const Fault* faults, size_t count) { faults_.assign(faults, faults + count); }

    // Set the tile's inputs for the coming cycle.
    void drive(Vtile& tile) {
        const Grants may = coupler_.grants(situation(tile));
        tile.M_AXI(arready) = reads_.size() < kMaxBursts && !stalled() && may.ar;
        tile.M_AXI(awready) =
            writes_.size() + responses_.size() < kMaxBursts && !stalled() && may.aw;
        tile.M_AXI(wready) = early_.size() < kMaxEarlyBeats && !stalled() && may.w;
        if (!tile.M_AXI(rvalid) && may.r && coupler_.choose(reads_, cycle_, chosen_) && !stalled())
            present_read(tile);
        if (!tile.M_AXI(bvalid) && may.b && !responses_.empty() &&
            responses_.front().due <= cycle_ && !stalled())
            present_response(tile);
    }

    // Look at the settled signals just before the clock edge; what moves is moved.
    void sample(Vtile& tile) {
        sample_read(tile);
        sample_write_address(tile);
        sample_write_data(tile);
        retired_read_ = tile.M_AXI(rvalid) && tile.M_AXI(rready);
        retired_response_ = tile.M_AXI(bvalid) && tile.M_AXI(bready);
        read_beats_ += retired_read_;
        moved_ |= retired_read_ || retired_response_;
        ++cycle_;
    }

    // After the edge: valid falls with the transfer, unless `drive` finds more.
    void retire(Vtile& tile) {
        if (retired_read_) {
            tile.M_AXI(rvalid) = 0;
            if (++reads_[chosen_].done == reads_[chosen_].beats)
                reads_.erase(reads_.begin() + chosen_);
        }
        if (retired_response_) {
            tile.M_AXI(bvalid) = 0;
            responses_.pop_front();
        }
    }

    uint64_t cycle() const { return cycle_; }
    uint64_t read_beats() const { return read_beats_; }
    uint64_t write_beats() const { return write_beats_; }
    size_t outstanding() const {
        return reads_.size() + writes_.size() + responses_.size() + early_.size();
    }
    void clear_counts() { read_beats_ = write_beats_ = 0; }
    uint64_t coupled() const { return coupler_.held(); }
    // Whether anything was transferred since the last call.
    bool take_moved() { return std::exchange(moved_, false); }

    [[noreturn]] void violation(const std::string& what) const {
        throw std::runtime_error("AXI4: " + what + " (cycle " + std::to_string(cycle_) + ")");
    }

   private:
    struct Address {
        uint64_t addr, len, id, kind;  // kind: size, burst, lock, cache, prot, qos, region
        bool operator==(const Address& other) const {
            return addr == other.addr && len == other.len && id == other.id && kind == other.kind;
        }
    };
    struct Beat {
        uint8_t data[kBeatBytes];
        uint64_t strobe;
        bool last;
        bool operator==(const Beat& other) const {
            return strobe == other.strobe && last == other.last &&
                   std::memcmp(data, other.data, kBeatBytes) == 0;
        }
    };
    struct Read {
        uint64_t id, beats, due, done;
        std::vector<uint8_t> data;
        std::vector<uint8_t> response;
    };
    struct Write {
        uint64_t addr, id, beats, due;
        std::vector<Beat> data;
    };
    // One channel on which the tile speaks: what it has offered must stay until it is taken.
    template <class Payload>
    struct Offer {
        bool waiting = false;
        Payload payload{};
        void check(const AxiMemory& memory, const char* name, bool valid, const Payload& now) const {
            if (!waiting) return;
            if (!valid) memory.violation(std::string(name) + "VALID fell before " + name + "READY");
            if (!(now == payload))
                memory.violation(std::string(name) + " changed while it waited for " + name + "READY");
        }
        void keep(bool valid, bool ready, const Payload& now) {
            waiting = valid && !ready;
            if (waiting) payload = now;
        }
    };

    bool stalled() { return stall_ != 0 && random_.next() < stall_; }

    Situation situation(Vtile& tile) const {
        const bool complete = !early_.empty() && early_.back().last;
        return {!reads_.empty(),
                !writes_.empty() || !early_.empty() || !responses_.empty(),
                !writes_.empty(),
                !early_.empty(),
                complete,
                !responses_.empty(),
                tile.M_AXI(arvalid) != 0,
                tile.M_AXI(awvalid) != 0,
                tile.M_AXI(wvalid) != 0,
                cycle_};
    }

    void check_address(const char* name, const Address& a) const {
        const uint64_t bytes = (a.len + 1) * kBeatBytes;
        const std::string channel(name);
        if ((a.kind & 7) != uint64_t(__builtin_ctzll(kBeatBytes)))
            violation(channel + "SIZE is not the bus width");
        if ((a.kind >> 3 & 3) != 1) violation(channel + "BURST is not INCR");
        if (a.addr % kBeatBytes) violation(channel + "ADDR is not aligned to a beat");
        if (a.addr / 4096 != (a.addr + bytes - 1) / 4096)
            violation(channel + " burst crosses a 4 KiB boundary");
    }

    Response fault_of(uint64_t first, uint64_t last) const {
        for (const Fault& fault : faults_)
            if (first <= fault.last && last >= fault.first) return Response(fault.response);
        return kOkay;
    }
    bool inside(uint64_t address) const { return address - base_ < size_; }

    // Whether a channel moves in this cycle; what the tile offers there is judged first.
    template <class Payload>
    bool transfers(const char* name, Offer<Payload>& offer, bool valid, bool ready,
                   const Payload& now) {
        offer.check(*this, name, valid, now);
        offer.keep(valid, ready, now);
        moved_ |= valid && ready;
        return valid && ready;
    }

    void sample_read(Vtile& tile) {
        const Address a = OFFERED_ADDRESS(tile, ar);
        if (!transfers("AR", read_offer_, tile.M_AXI(arvalid), tile.M_AXI(arready), a)) return;
        check_address("AR", a);
        Read read{a.id, a.len + 1, cycle_ + latency_, 0, {}, {}};
        read.data.assign(read.beats * kBeatBytes, 0xA5);
        for (uint64_t beat = 0; beat < read.beats; ++beat) {
            const uint64_t first = a.addr + beat * kBeatBytes, last = first + kBeatBytes - 1;
            const uint64_t low = std::max(first, base_), end = std::min(last + 1, base_ + size_);
            Response response = fault_of(first, last);
            if (response == kOkay && low >= end) response = kDecodeError;
            if (response == kOkay)
                std::memcpy(&read.data[low - a.addr], bytes_ + (low - base_), end - low);
            read.response.push_back(response);
        }
        reads_.push_back(std::move(read));
    }

    void present_read(Vtile& tile) {
        const Read& read = reads_[chosen_];
        std::memcpy(&tile.M_AXI(rdata), &read.data[read.done * kBeatBytes], kBeatBytes);
        tile.M_AXI(rid) = read.id;
        tile.M_AXI(rresp) = read.response[read.done];
        tile.M_AXI(rlast) = read.done + 1 == read.beats;
        tile.M_AXI(rvalid) = 1;
    }

    void sample_write_address(Vtile& tile) {
        const Address a = OFFERED_ADDRESS(tile, aw);
        if (!transfers("AW", write_offer_, tile.M_AXI(awvalid), tile.M_AXI(awready), a)) return;
        check_address("AW", a);
        writes_.push_back({a.addr, a.id, a.len + 1, 0, {}});
        match_write_data();
    }

    void sample_write_data(Vtile& tile) {
        const bool valid = tile.M_AXI(wvalid), ready = tile.M_AXI(wready);
        if (!valid && !data_offer_.waiting) return;
        Beat beat;
        std::memcpy(beat.data, &tile.M_AXI(wdata), kBeatBytes);
        beat.strobe = tile.M_AXI(wstrb);
        beat.last = tile.M_AXI(wlast);
        if (!transfers("W", data_offer_, valid, ready, beat)) return;
        ++write_beats_;
        early_.push_back(beat);
        match_write_data();
    }

    void match_write_data() {
        while (!writes_.empty() && !early_.empty()) {
            Write& write = writes_.front();
            write.data.push_back(early_.front());
            early_.pop_front();
            if (write.data.back().last != (write.data.size() == write.beats))
                violation("WLAST is wrong at beat " + std::to_string(write.data.size()) + " of " +
                          std::to_string(write.beats));
            if (write.data.back().last) {
                write.due = cycle_ + latency_ + coupler_.late();
                responses_.push_back(std::move(write));
                writes_.pop_front();
            }
        }
    }

    void present_response(Vtile& tile) {
        const Write& write = responses_.front();
        Response response = kOkay;
        for (uint64_t beat = 0; beat < write.beats; ++beat) {
            const uint64_t first = write.addr + beat * kBeatBytes;
            Response fault = fault_of(first, first + kBeatBytes - 1);
            for (uint64_t lane = 0; lane < kBeatBytes && fault == kOkay; ++lane) {
                if (!(write.data[beat].strobe >> lane & 1)) continue;
                if (inside(first + lane))
                    bytes_[first + lane - base_] = write.data[beat].data[lane];
                else
                    fault = kDecodeError;
            }
            response = std::max(response, fault);
        }
        tile.M_AXI(bid) = write.id;
        tile.M_AXI(bresp) = response;
        tile.M_AXI(bvalid) = 1;
    }

    const uint64_t latency_, stall_;
    Random random_;
    Coupler coupler_;
    size_t chosen_ = 0;  // whose beat is on R
    uint8_t* bytes_ = nullptr;
    uint64_t size_ = 0, base_ = 0;
    std::vector<Fault> faults_;
    uint64_t cycle_ = 0, read_beats_ = 0, write_beats_ = 0;
    bool moved_ = false, retired_read_ = false, retired_response_ = false;
    Offer<Address> read_offer_, write_offer_;
    Offer<Beat> data_offer_;
    std::deque<Read> reads_;
    std::deque<Write> writes_;     // address accepted, data not complete
    std::deque<Write> responses_;  // complete, not answered
    std::deque<Beat> early_;       // data accepted, address not
};
