// Package aead is the authenticated encryption of data under a symmetric key: one construction for each algorithm of class
// aead. It knows no frame, no context and no key hierarchy; package envelope brings it the keys.
//
// Seal draws a nonce and returns, for every algorithm (sizes in bytes):
//
//	nonce || ciphertext || tag
//
//	name               key             nonce  tag  construction
//	AES-128-GCM        16              12     16   SP 800-38D, nonce by section 8.2.2
//	AES-192-GCM        24              12     16
//	AES-256-GCM        32              12     16
//	AES-256-CCM        32              12     16   SP 800-38C, 65536 bytes of plaintext at most
//	AES-256-GCM-SIV    32              12     16   RFC 8452
//	ChaCha20-Poly1305  32              12     16   RFC 8439 section 2.8
//	AES-256-CBC        64 = enc||mac   16     32   SP 800-38A section 6.2, PKCS#7 padding (RFC 5652 section 6.3), then the MAC
//	AES-256-CTR        64 = enc||mac   12     32   SP 800-38A section 6.5, then the MAC; counter block = nonce || uint32 from 0
//
// The tag of CBC and CTR is HMAC-SHA256(mac, uint64 big-endian length of the associated data || associated data || nonce ||
// ciphertext). It is checked in constant time before anything is decrypted, and so before any padding is looked at. Both
// keys must come from one secret: the tag says nothing about the encryption key (a frame's key commitment does).
//
// AES-GCM comes from the Go Cryptographic Module and draws its own nonce there, which keeps it approved in FIPS mode. All
// other nonces come from crypto/rand. A random 12-byte nonce bounds a key to 2^32 messages (SP 800-38D section 8.3), which
// the callers observe: they use a key once, or count.
//
// # Formats 1 to 3
//
// The public original of the system had bodies of its own, which SealOriginal and OpenOriginal know: CBC and CTR without
// associated data in the MAC, and XTS (SP 800-38E, with a MAC), which is only read. Their key is one that the caller has
// already split. See Construction.
package aead
