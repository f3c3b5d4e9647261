// Package cluster replicates the state that all nodes agree on: it is the one folder that knows Raft.
//
// A Node keeps a log of commands (cluster/command), sealed before Raft sees them, and applies each to tables in memory.
// Propose adds a command, on whichever node it is called, and returns its outcome; View reads the newest state without a lock;
// Epoch tells whether something that was decided before must be decided again; Lease tells until when this node may act on what
// it has applied.
//
//	Propose -> seal -> (forward to the leader) -> raft -> logStore -> raft.db   durable, one fsync for all that wait
//	                                                |
//	                                                `-> fsm -> open -> apply -> View -> Epoch -> fence -> outcome
//
// Applying a command is a pure function of state and command, in apply.go. Everything on disk is sealed or carries an
// authentication code, and Open verifies it. Who is a member is a record in the state; Raft's own configuration follows the
// records (membership.go). DESIGN.md in this folder says what lies where, what holds when nodes and networks fail, and which
// paths of the libraries below are closed and why.
//
// The parts that know nothing of the state are packages of their own: cluster/transport is the network, cluster/fence the leases.
package cluster
