// Package kem holds what is done with somebody's public key except checking signatures: key encapsulation, key agreement
// and encryption to a public key. It knows no tenant, no right and no token; who may use which key is decided before it is
// called, and whether an algorithm is approved is for package algs to say.
//
// The names are those of package algs, of the classes kem, agreement, public-encryption and hybrid. A hybrid name stands
// for the key encapsulation in it: it gives the secret; the frame and the cipher are elsewhere.
//
// # Keys
//
// A key is a byte string of one form for each algorithm (sizes in bytes):
//
//	                       private                          public
//	ML-KEM-512             64    seed d || z                800   FIPS 203 section 7.1, RFC 9935
//	ML-KEM-768             64                               1184
//	ML-KEM-1024            64                               1568
//	X-Wing                 32    seed                       1216  ML-KEM-768 || X25519
//	X25519                 32    RFC 7748 section 5         32
//	P-256                  32    scalar, big-endian         65    uncompressed point, SEC 1 section 2.3.3
//	P-384                  48                               97
//	HPKE, X25519 and NIST  as above, RFC 9180 section 7.1   as above
//	HPKE, MLKEM768-X25519  32    seed                       1216  draft-ietf-hpke-pq
//	HPKE, MLKEM768-P256    32    seed                       1249  ML-KEM-768 || P-256
//	RSA                    RSAPrivateKey, DER               RSAPublicKey, DER (RFC 8017 appendix A.1)
//
// The Go module computes everything but ML-KEM-512, X-Wing and ML-KEM keys in expanded form, which circl does. Under version
// 1.0.0 of the module HPKE needs GODEBUG=fips140=on: its nonces are derived, which that version does not approve.
//
// ML-KEM keys of older deployments may also come in the expanded form of FIPS 203 (1632, 2400 or 3168 bytes), for
// decapsulation only: ParseExpanded. ImportPKCS8 reads the private keys that other programs write.
//
// Public keys are checked before use: length, a point on the curve (SP 800-56A section 5.6.2.3.3), coefficients below the
// modulus (FIPS 203 section 7.2), an RSA modulus of exactly the named size with an odd exponent of at least 65537
// (SP 800-56B section 6.2). An X25519 key of low order shows when it is used and is refused then (RFC 7748 section 6.1);
// X-Wing, whose secret is also that of ML-KEM, takes it, as its draft has it.
//
// # Encapsulation
//
//	                       ciphertext                       secret
//	ML-KEM-512             768                              32    FIPS 203
//	ML-KEM-768             1088                             32
//	ML-KEM-1024            1568                             32
//	X-Wing                 1120  ML-KEM-768 || X25519       32    draft-connolly-cfrg-xwing-kem-10
//	P256MLKEM768 (hybrid)  1153  ML-KEM-768 || P-256        32    draft-ietf-hpke-pq
//
// The secret of P256MLKEM768 is Export("cryptoserve/1/hybrid-context", 32) of an HPKE context in base mode with the KEM
// MLKEM768-P256, HKDF-SHA256, the export-only AEAD and an empty info (RFC 9180 section 5.3).
//
// A ciphertext of the right length that was not made for the key gives a secret that nobody else has, not an error: the
// implicit rejection of FIPS 203. What is encrypted under the secret then fails to open.
//
// # Agreement
//
// Agree gives what the curve gives: 32 bytes of X25519 (RFC 7748 section 6.1), or the x coordinate of 32 or 48 bytes
// (SP 800-56A section 5.7.1.2). It is not uniformly random and must go through a key derivation before it is a key.
//
// # Encryption to a public key
//
//	HPKE     enc || ciphertext || tag (16)                    RFC 9180 base mode, single shot; info and aad as there
//	ECIES    ephemeral public key || nonce (12) || ciphertext || tag (16)
//	RSA-OAEP as long as the modulus                           RFC 8017 section 7.1, SHA-256 and MGF1 with SHA-256
//
// ECIES makes an ephemeral key for each message. Its cipher is AES-256-GCM with a random nonce, which authenticates aad, under
//
//	key = HKDF-SHA256(ikm = shared secret, salt = none, info = I, 32)       RFC 5869
//	I   = lp("cryptoserve/1/ecies") lp(algorithm) lp(ephemeral public key) lp(recipient public key) lp(info)
//
// where lp(x) is a two-byte length and x (package lp). So the key belongs to both public keys, to the algorithm and to
// info, which is the SharedInfo1 of SEC 1 section 5.1.
//
// RSA-OAEP has no info. Its label L carries aad; the plaintext is at most 190, 318 or 446 bytes.
//
// Every failed decryption is fault.DecryptFailed with one text; the cause is for the auditor alone.
package kem
