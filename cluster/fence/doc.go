// Package fence makes a right that was taken away stay away, on every node, partitioned, paused or slow: it is a lease that
// the replicated log gives out. It knows no Raft and no network, and every time in it is a node's own CLOCK_BOOTTIME.
//
//	holder N        Refresh: note s = clock, nonce k ------------> leader, which appends Tick{N: k}
//	                Applied, Advance: when N has published the tick with k, its lease runs to s + L
//	                use: Lease, then the newest state, then Expired; answer only if all three allow it
//	coordinator     entry i takes a right away; Applied, Advance; Wait(i): until each other node N has reported that it
//	                published i, or until lastTick[N] + L(1 + 2 rho) + slack; then answer that the right is gone
//
// lastTick[N] is when the coordinator applied the newest tick naming N; after a start or a snapshot, "now" for all.
//
// # Why it holds
//
// Let i be committed at time c, its mutation answer at r, and a use on N read the state at t > r. It answers only if the
// lease that it read before t lasts beyond the clock reading after t. That lease began at some s, with a tick at index j.
//
//  1. s > c. The nonce did not exist before s, so the tick was appended after i was committed: j > i. N published
//     everything up to j, so i too, before the lease could be read, and the state was read after it. The use sees i.
//  2. s <= c and j > i. The same: what counts is the index.
//  3. s <= c and j < i. The coordinator applied the tick, or a snapshot with it, before i and after s: lastTick[N] >= s in
//     real time. If the wait ended by the clock, r >= lastTick[N] + L(1 + 2 rho) on a clock that is at most rho faster than
//     that of N, so N's clock showed s + L before r: the lease is over at t. If it ended by N's report, N had published i
//     before r, and only a restart makes it forget; then it has no lease and its nonces are void, so s is after the restart.
//
// So a use answers for its state as of the moment when it read it. One that read the state before r may answer after r.
//
// # What the rule leans on, each with a test that breaks it
//
//   - Order. Lease before state (else: old state, new lease). State before clock (else a pause between the two goes unseen).
//     The clock itself, not a reading that somebody keeps. A tick's lease and a report count from Advance, which comes after
//     the state is published; Restored comes before that.
//   - Nonces live in memory. An old log that is replayed after a restart matches none; a nonce that comes twice grants the
//     same end; one that comes late grants a shorter lease, never a longer one.
//   - Removed members are waited for: they may not know it yet. So are nodes that ticks name and the caller does not.
//   - Bounds are read when the coordinator has applied i. A tick that comes later has a higher index: case 2. A snapshot
//     before that resets them to now, one after it changes nothing about i.
//   - Alone. A node whose newest configuration names only itself is in every majority of that and of the one before, so nobody
//     commits without it; after a barrier it has published all there is. SetAlone(false) comes before anybody is added, so
//     before anybody else could coordinate. Who ever had another member goes on with ticks, for few small entries: what
//     removed members still do then needs no case of its own.
//   - Clocks. Forward (a suspended machine) ends leases and waits, rightly. Backward is a broken clock: it is noticed against
//     the newest reading of Refresh and Applied, every lease and nonce is void at once, and bounds begin anew; SteppedBack
//     counts it. What is smaller than the time since that reading, 100 ms while ticks come, cannot be noticed. A virtual
//     machine whose clock stopped with it is beyond any lease: such hosts ask the log for each use (strict).
//   - L is the same on all nodes. Nobody's report is believed but that of the member itself.
//
// Wait belongs to every answer that says a right is gone, also when the command found it gone: whoever took it may still
// be waiting. sim_test.go runs all this on a simulated cluster and lets porcupine judge what clients saw.
package fence
