// Package envelope is the ciphertext frame: its bytes, how they are made from a data key and how they open again. It knows
// no tenant, no right and no token; who may use which key is decided before it is called.
//
// Every format has one frame (sizes in bytes, integers big-endian):
//
//	header length (2) || header (compact JSON, fields in the order shown, 4096 at most) || body
//
// Format 4, the default:
//
//	header = {"v":4,"ctx":C,"kid":K,"alg":A,"salt":base64(32),"kc":base64(32)}
//	okm    = HKDF-Expand-SHA256(DEK, lp("cryptoserve/4") lp(alg) lp(salt), 64)    RFC 5869 section 2.3
//	body   = nonce (12) || ciphertext || tag (16)        AES-256-GCM under okm[0:32], SP 800-38D
//	kc     = okm[32:64], compared in constant time before anything is decrypted
//	AAD    = header length || header || associated data of the caller
//
// The header is authenticated, so nothing in it can be edited, and each message has its own key, so there is no limit of
// 2^32 messages. lp(x) is a two-byte length and x (package lp).
//
// Format 3, as the specification has it (its Appendix B), for readers that know no other:
//
//	header = {"v":3,"ctx":C,"kid":K,"alg":A,"mode":"gcm","nonce":base64(12),"kc":base64(32),"aad":true|false}
//	body   = ciphertext || tag (16)                       AES-256-GCM under the DEK
//	kc     = HMAC-SHA256(DEK, "key-commitment-v1")
//	AAD    = associated data of the caller
//
// Its header is not authenticated: what the header says is only ever compared with the record of the key. "aad" tells
// whether associated data was used; a frame without the field means false.
//
// Parsing accepts exactly the bytes that writing produces (and the absent "aad" of format 3): another order, spacing,
// escape, unknown, missing or repeated field is ErrFrame.
package envelope
