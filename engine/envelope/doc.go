// Package envelope is the ciphertext frame: its bytes, how they are made from a data key and how they open again. It knows
// no tenant, no right and no token; who may use which key is decided before it is called.
//
// Every format has one frame (sizes in bytes, integers big-endian):
//
//	header length (2) || header (compact JSON, fields in the order shown, 4096 at most) || body
//
// lp(x) is a two-byte length and x (package lp). Base64 is standard with padding.
//
// # Format 4, the default
//
//	header = {"v":4,"ctx":C,"kid":K,"alg":A,"salt":base64(32),"kc":base64(32)}
//	okm    = HKDF-Expand-SHA256(DEK (32), lp("cryptoserve/4") lp(A) lp(salt), key bytes of A + 32)    RFC 5869 section 2.3
//	body   = nonce || ciphertext || tag, as package aead makes it under the first bytes of okm
//	kc     = the last 32 bytes of okm, compared in constant time before anything is decrypted
//	AAD    = header length || header || associated data of the caller
//
// The header is authenticated, so nothing in it can be edited, and each message has its own key, so there is no limit of
// 2^32 messages. A is any algorithm of class aead that is written; AES-256-CBC and -CTR take 64 bytes, for cipher and MAC.
//
// Hybrid: A is an algorithm of class hybrid and the DEK is the secret (32) that a key encapsulation gave for this message.
//
//	header = {"v":4,"ctx":C,"kid":K,"alg":A,"kem_ct_len":L,"salt":base64(32),"kc":base64(32)}    L decimal, 1 to 16384
//	okm    = HKDF-Expand-SHA256(secret, lp("cryptoserve/4") lp(A) lp(salt) lp(KEM ciphertext), 64)
//	body   = KEM ciphertext (L) || nonce (12) || ciphertext || tag (16)        AES-256-GCM
//
// Whether L is the length that the KEM has is for whoever decapsulates to check.
//
// Stream: AES-256-GCM, any size in constant memory. The header ends in "kc":base64(32),"seg":65536}, okm is that of the
// other messages, okm[0:32] is the input key of the segments (package stream) and the AAD is the same. Open refuses it.
//
// # Format 3, for readers that know no other
//
//	header = {"v":3,"ctx":C,"kid":K,"alg":A,"mode":M,"nonce":base64(12 or 16),"kc":base64(32),"aad":true|false}
//	kc     = HMAC-SHA256(DEK, "key-commitment-v1")    over the whole DEK, before any split
//	AAD    = associated data of the caller
//
//	A                    M        DEK         nonce  body
//	AES-128/192/256-GCM  gcm      16, 24, 32  12     ciphertext || tag (16)
//	ChaCha20-Poly1305    gcm      32          12     ciphertext || tag (16)
//	AES-256-CCM          ccm      32          12     ciphertext || tag (16)
//	AES-256-CBC          cbc      32, split   16     ciphertext || HMAC-SHA256(mac key, nonce || ciphertext)
//	AES-256-CTR          ctr      32, split   12     ciphertext || HMAC-SHA256(mac key, nonce || ciphertext)
//
//	split: enc = HKDF-SHA256(DEK, salt "crypto-serve-v1", info "encryption", length of the DEK), mac = the same with
//	info "authentication", 32 bytes
//
// Its header is not authenticated: what the header says is only ever compared with the record of the key. "aad" tells
// whether associated data was used; a frame without the field means false. CBC and CTR cannot authenticate associated data
// in this format, so Seal refuses it. AES-256-GCM-SIV is not written: readers of format 3 take that label for plain
// AES-256-GCM, which is what the original wrote under it. So a frame of format 3 with the label is never ours.
//
// # What the public original wrote, formats 1 to 3
//
// OpenImported reads it under keys that were imported, and only under those: Open takes formats 3 and 4 and nothing else, so
// no frame of ours can be relabelled to an older format. Beside the table above:
//
//	v 1, 2               the header has no kc and no aad; v 1 has no mode either and is GCM or ChaCha20-Poly1305
//	v 3                  kc must be there; "aad" is there only as true
//	AES-256-GCM-SIV      mode gcm-siv: the bytes are plain AES-256-GCM
//	ChaCha20-Poly1305    mode ctr: the nonce has 16 bytes, of which the first 12 are used
//	AES-128-GCM          modes cbc, ccm and gcm-siv: the mode decides the construction, the name the size of the key
//	AES-256-XTS          mode xts: DEK 64 = XTS key; tweak = nonce (12) || 0^4; body = ciphertext || HMAC-SHA256(mac key,
//	                     tweak || ciphertext), mac key split from the first 32 bytes of the DEK
//	hybrid               {"v":1,"mode":A,"kid":K,"nonce":base64(12),"kem_ct_len":L}, body = KEM ciphertext (1088 or 1568) ||
//	                     ciphertext || tag, key = HKDF-SHA256(KEM secret, no salt, "cryptoserve-hybrid-v1" || K, 32)
//
// Associated data of imported frames: what the header flags must be given. GCM, CCM and ChaCha20-Poly1305 decide the rest
// themselves. The original refused it for CBC and CTR, so giving any is a failure. It took it for XTS and ignored it: such a
// frame opens under any associated data that is there exactly when the header says so, and in format 2, which says nothing,
// under any. Formats 1 and 2 have no key commitment.
//
// # Strictness
//
// Parsing accepts exactly the bytes that a writer produces, ours or the original's: another order, spacing, escape, unknown,
// missing or repeated field, a number with a leading zero, a mode or length of nonce that the algorithm has not, is ErrFrame.
// A frame of a known form whose algorithm or key does not fit does not open, and costs the work of a wrong key. There are
// three errors, ErrFrame, ErrCommitment and ErrTag, and all three are the auditor's: callers get one answer.
package envelope
