// Package clustertest starts clusters of real processes, breaks them, and checks what they promised: no acknowledged write is lost, no
// right is used after the call that took it away has returned, and what administrators change behaves like one copy.
//
// # Parts
//
// A Network gives each node a network namespace with a cable to a bridge. The test stays outside and reaches every node, so that what is
// cut between nodes cuts no client off. A Process keeps one program running the way a service manager does, and kills, stops, pauses
// and resumes it with its children. A Disk stands before the syncs of a process and makes them slow, hang or fail; a SmallDisk can be
// filled. A History records what clients called, between which moments, and what they know of the outcome. CheckFence,
// CheckVersions and CheckLost judge it exactly and in little time; FenceModel, VersionModel and RightModel let porcupine judge it
// by a search that knows nothing of how the others reason. Run puts all together: clients and faults drawn from one seed, then
// the checks and a Report.
//
// A cluster takes part by implementing Cluster: where its nodes are and what can be broken about them, who leads, the digests of their
// states, and the verification of their audit logs. REST is the rest of it, over the API of real nodes.
//
//	r, err := clustertest.Run(ctx, cluster, clustertest.Options{Seed: 1, Duration: time.Minute, Log: t.Logf})
//	fmt.Println(r)
//	if err = errors.Join(err, r.Err()); err != nil { ... }
//
// A schedule of faults repeats with its seed as far as it can: which faults, for how long, at which of the nodes that do not lead.
// Who leads, and what the machine does at which moment, does not repeat.
//
// # What it needs
//
// Linux, root, ip and iptables (nft or legacy; `make netdeps`). Without root its tests are skipped. Nothing of it stays behind, however
// a test ends: namespaces have no names and end with the processes in them, processes die with the test (PR_SET_PDEATHSIG), and
// small disks are taken away at an interrupt or, after kill -9, by the next test that makes one.
//
// # What was tried on the machine it was made on
//
// Two cores, Linux 6.18. Works: network namespaces, veth and bridge, iptables-nft drops (a network of three nodes takes 0.03 s, a cut
// 9 ms), seccomp user notification in front of fsync and fdatasync (BenchmarkSync finds no cost), SIGSTOP, tmpfs as a full disk. Not
// used: a preloaded library, because Go makes its own system calls; strace, which stops a process at every system call; io
// limits of cgroups, which disks in memory do not know. Clock jumps are no fault here: a namespace can shift the boot clock of a
// process only once, before it starts, so they are tests of the lease's own clock.
package clustertest
