// Package limit bounds how often somebody may do something: on one node, in memory of bounded size, by a clock that the
// caller reads.
//
//	Buckets   so many calls a second, with bursts    per address, subject, tenant and context
//	Failures  a wait that grows with each failure    per address and user, for signing in
//	Budget    so many records and bytes in a window  per subject and context, for decrypting
//
// Rates and allowances come with each call, because they are replicated settings that change: a change applies to the next
// call. A limit is a node's own. A cluster of n nodes lets pass up to n times as much, and a node that starts anew remembers
// nothing.
//
// A refusal comes with the time after which the same call would pass if nobody else asked meanwhile, or with Never.
//
// # Many keys
//
// Each of the three remembers at most as many keys as it was made for, whole: long ones should be hashed. Keys are spread
// over shards by a hash with a random seed, each with a lock and an equal part of the places, so that calls for different
// keys seldom meet. A shard can be full when the whole has some places left: with 128 places a shard, the least there is
// when there are several, the first is full at about three quarters.
//
// A key loses its place only to another key, and only when it is as good as new: its bucket is full again, its failures are
// forgotten, its window is empty. So flooding with new keys gives nobody what waiting would not have given. When a shard
// has no such key, all keys that it does not know share one record, as if they were one key: they may be refused because of
// each other, and a flood can bring that about. That is meant: a limit that fails lets less pass, not more. A key that gets
// its own place afterwards begins with what the shared record holds then, and does not gain by the change either. Who can
// make up keys freely (user names, say) should be bounded first by something he cannot make up.
//
// # The clock
//
// Times may be wall-clock times or carry a monotonic reading (time.Now), which is better and is used when it is there. Each
// shard keeps a time of its own that never goes back:
//
//   - A call up to a second behind another one, as happens to goroutines that race, counts as made at the same time as that.
//   - A clock set back further gives nothing: the time since the call before the jump is lost, and time goes on from there.
//   - A clock set forward counts as time that passed, at most a year in one step, since that cannot be told from silence.
//
// So a clock that jumps back and forth gives at most what its forward steps add up to, and a jump back makes nobody wait until
// the clock has caught up.
package limit
