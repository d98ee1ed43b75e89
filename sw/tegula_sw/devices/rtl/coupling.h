// Ways in which a memory may make the channels of its AXI4 port wait for each other. All of them are
// allowed (AMBA AXI, IHI 0022H, A3.3 and A5), so a tile that hangs at one has a fault.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

class Random {  // xorshift64* (Vigna 2016), high half
   public:
    explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u | 1) {}
    uint64_t next() {
        state_ ^= state_ >> 12, state_ ^= state_ << 25, state_ ^= state_ >> 27;
        return (state_ * 0x2545F4914F6CDD1Du) >> 32;
    }

   private:
    uint64_t state_;
};

// As `tegula_sw.devices.rtl.coupling.Coupling` describes it.
struct Coupling {
    enum Order : uint64_t { kFree, kReadsFirst, kWritesFirst, kOneAtATime };
    enum Address : uint64_t { kAnyTime, kWithData, kAfterData, kBeforeData };
    uint64_t order, address, interleave, spells, late;
};

// What the memory holds, and what the tile offers in the coming cycle.
struct Situation {
    bool reading, writing;     // a read, a write is accepted, in whole or in part, and not answered
    bool addressed;            // a write whose data are missing
    bool started, complete;    // some, all of the data of a write without its address
    bool answering;            // a write is complete and not answered
    bool ar, aw, w;            // valid
    uint64_t cycle;
};

// Which channels may move in the coming cycle.
struct Grants {
    bool ar = true, aw = true, w = true, r = true, b = true;
};

class Coupler {
   public:
    Coupler(const Coupling& coupling, uint64_t seed) : coupling_(coupling), random_(~seed) {}

    Grants grants(const Situation& now) {
        Grants may;
        if (coupling_.order == Coupling::kReadsFirst) may.w = may.b = !now.reading;
        if (coupling_.order == Coupling::kWritesFirst) may.r = !now.writing;
        if (coupling_.order == Coupling::kOneAtATime) {
            const bool idle = !now.reading && !now.writing;
            if (idle) writes_turn_ = (now.aw || now.w) && !(now.ar && wrote_last_);
            if (!idle) wrote_last_ = now.writing;
            may.ar = idle && !writes_turn_;
            may.aw = writes_turn_ && !now.reading && !now.answering && !now.addressed;
            may.w = writes_turn_ && !now.reading && !now.answering && !now.complete;
        }
        if (coupling_.address == Coupling::kWithData) may.aw &= now.w || now.started;
        if (coupling_.address == Coupling::kAfterData) may.aw &= now.complete;
        if (coupling_.address == Coupling::kBeforeData) may.w &= now.addressed;
        if (coupling_.spells) {
            may.ar &= !rests(0, now.cycle), may.aw &= !rests(1, now.cycle);
            may.w &= !rests(2, now.cycle), may.r &= !rests(3, now.cycle);
            may.b &= !rests(4, now.cycle);
        }
        held_ += (now.ar && !may.ar) || (now.aw && !may.aw) || (now.w && !may.w) ||
                 (now.reading && !may.r) || (now.answering && !may.b);
        return may;
    }

    // The burst whose beat comes next: the oldest, or the oldest of some ID. False if none is due.
    template <class Read>
    bool choose(const std::deque<Read>& reads, uint64_t cycle, size_t& chosen) {
        if (!coupling_.interleave) {
            chosen = 0;
            return !reads.empty() && reads[0].due <= cycle;
        }
        size_t oldest[kReadIds], count = 0;
        bool seen[kReadIds] = {};
        for (size_t index = 0; index < reads.size(); ++index)
            if (!std::exchange(seen[reads[index].id % kReadIds], true) && reads[index].due <= cycle)
                oldest[count++] = index;
        if (count == 0) return false;
        chosen = oldest[random_.next() % count];
        held_ += chosen != 0;
        return true;
    }

    uint64_t late() const { return coupling_.late; }
    // Cycles in which something waited for the coupling alone, and beats that overtook older ones.
    uint64_t held() const { return held_; }

   private:
    static constexpr size_t kReadIds = 4;
    struct Spell {
        uint64_t end = 0;
        bool rests = true;
    };

    bool rests(int channel, uint64_t cycle) {
        Spell& spell = spells_[channel];
        if (cycle >= spell.end) {
            spell.rests = !spell.rests;
            spell.end = cycle + 1 + random_.next() % (spell.rests ? 600 : 31);
        }
        return spell.rests;
    }

    const Coupling coupling_;
    Random random_;
    Spell spells_[5];
    bool writes_turn_ = false, wrote_last_ = false;
    uint64_t held_ = 0;
};
