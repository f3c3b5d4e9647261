// Package signature signs and verifies, reads and makes the key pairs for it, and writes detached JWS.
//
// Keys and signatures have one canonical form each (sizes in bytes, integers big-endian):
//
//	algorithm          public                     private                   signature
//	Ed25519            32, RFC 8032 5.1.2         32, the seed              64, RFC 8032 5.1.6
//	ECDSA-P256         65, 04 || X || Y           32, the scalar            DER, or raw r || s of 64
//	ECDSA-P384         97                         48                        DER, or raw 96
//	ECDSA-P521         133                        66                        DER, or raw 132
//	RSA-PSS-b          RSAPublicKey in DER        RSAPrivateKey in DER      b/8, RFC 8017 8.1
//	RSA-PKCS1-b        the same                   the same                  b/8, RFC 8017 8.2
//	ML-DSA-44          1312, FIPS 204 algorithm 22  32, the seed xi         2420
//	ML-DSA-65          1952                       32                        3309
//	ML-DSA-87          2592                       32                        4627
//	SLH-DSA-*-128      32, PK.seed || PK.root     64, SK.seed || SK.prf || PK  7856 (s), 17088 (f)
//	SLH-DSA-*-192      48                         96                        16224 (s), 35664 (f)
//	SLH-DSA-*-256      64                         128                       29792 (s), 49856 (f)
//	Ed25519+ML-DSA-65  1984, Ed25519 || ML-DSA    64, Ed25519 || ML-DSA     3373, Ed25519 (64) || ML-DSA (3309)
//
// # What is accepted
//
// Public keys are validated when they are parsed: EC points are on their curve and not at infinity (SP 800-56A
// section 5.6.2.3.3), Ed25519 keys are canonical points of large order, RSA moduli have exactly the bits of the name and an
// odd exponent of at least 65537 (FIPS 186-5 appendix A.1.1). Lengths are exact everywhere.
//
// ECDSA takes SHA-256, SHA-384, SHA-512, SHA3-256, SHA3-384 or SHA3-512, whichever is no weaker than its curve; without a
// choice the SHA-2 function of the curve's strength. Both (r, s) and (r, n-s) verify, as FIPS 186-5 has it: a signature is no
// unique name of its message, so nothing may use it as one. DER is strict. The RSA algorithms take the same hashes; without
// a choice SHA-256, and SHA-384 for 4096 bits. The salt of RSA-PSS is as long as the hash, when signing and when
// verifying, and MGF1 uses the same hash. ML-DSA and SLH-DSA sign hedged with fresh randomness and take a context string
// (FIPS 204 section 5.2, FIPS 205 section 10.2).
//
// With Prehashed the message is the digest. ECDSA and RSA sign the same with it as without; Ed25519 becomes Ed25519ph (RFC
// 8032 section 5.1) over SHA-512, which plain Ed25519 does not verify. HashML-DSA and HashSLH-DSA are not offered.
//
// # The hybrid
//
// Ed25519+ML-DSA-65 is the composite MLDSA65-Ed25519-SHA512 of draft-ietf-lamps-pq-composite-sigs with the two halves of
// keys and signatures in the other order, so that swapping them converts one into the other. Both halves sign
//
//	M' = "CompositeAlgorithmSignatures2025" || "COMPSIG-MLDSA65-Ed25519-SHA512" ||
//	     len(context) (1) || context || SHA-512(message)
//
// Ed25519 without, ML-DSA with the second string as its context. A half that is cut off therefore verifies under neither
// single algorithm for the message. Verification always computes both and wants both.
package signature
