// Package hsm is the PKCS#11 token of a node: the only folder of the appliance that knows PKCS#11.
//
// A process has one Token. Open finds it by its label and logs in; Provision makes the keys of a first run; Load finds
// and proves them later; Run watches the token and brings it back after an outage. Then Expand derives keys from the
// master key, Random gives the token's randomness, NodeSigner signs as the node, and GenerateWrapped with WrappedSigner
// handle keys that leave the token only wrapped.
//
// # Sessions and concurrency
//
// All methods may be called by many goroutines. Each call to the token borrows a session for its whole length and waits
// for one no longer than Config.Wait. A PKCS#11 call cannot be stopped once it runs: a context is looked at before,
// never during. The module is initialised and finalised by one owner, and only while every session is in its hands.
//
// # Errors
//
// errors.go has the one table from CKR codes to fault kinds. While the token is down every operation fails at once with
// fault.HSMUnavailable. DESIGN.md beside this file tells about sessions, login, recovery and what modules really do.
package hsm
