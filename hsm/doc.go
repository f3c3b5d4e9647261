// Package hsm is the PKCS#11 token of a node: the only folder of the appliance that knows PKCS#11.
//
// A process has one Token. Open finds it by its label and logs in; Provision makes the keys of a first run; Load finds
// and proves them later; Run watches the token and brings it back after an outage. Then Expand derives keys from the
// master key, Random gives the token's randomness and NodeSigner signs as the node.
//
// # Keys that leave the token wrapped
//
// GenerateKey makes a key in the token and returns it as a blob that only tokens with the same wrapping keys open.
// SignDigest, Agree, DecryptOAEP, EncryptGCM, DecryptGCM and MAC unwrap such a blob, or find it unwrapped, and do their
// work in the token. ImportPair, ImportWrapped and ImportLegacy bring keys in from elsewhere, wrapped as by
// CKM_RSA_AES_KEY_WRAP; LegacyExpand derives from the master key of an imported deployment. GenerateWrapped and
// WrappedSigner do the same for the appliance's own pairs.
//
// # Joining a cluster
//
// PrepareJoin makes a token ready, TransferKeys wraps the keys of another token for it, ReceiveKeys unwraps them; AdoptKeys takes
// keys that are there already. No host sees a key. Trust is the security officer's part, in a process of its own.
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
