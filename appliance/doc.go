// Package appliance is the whole product: it reads the configuration, opens the parts in order, joins them, serves, and
// closes them in the opposite order.
//
// The path of a request:
//
//	client -> api (route, token) -> engine (authorise, key, algorithm, state) -> hsm | cluster -> answer
//	                                  '-- engine/audit around every operation
//
// The order of opening, each step needing the one before:
//
//	lock       one process a data directory
//	identity   which node of which cluster this directory belongs to
//	audit      no operation without its record, so the log comes first
//	token      the PKCS#11 token with the master key; its check value must be the identity's
//	cluster    the Raft log and snapshots, sealed under a key that the token derives
//	engine     the use cases
//	api        the listener, with a certificate for the token's own key
//
// Serve runs a node that exists. Dev makes one on its first start, with a SoftHSM2 token, an owner and an application, and
// serves it from then on. Both end when their context does, after the requests that run have been answered.
package appliance
