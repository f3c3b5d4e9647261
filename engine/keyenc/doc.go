// Package keyenc writes public keys as PEM and JWK and reads them from PEM.
//
// The canonical public key of an algorithm, which goes in and comes out here, and its forms:
//
//	algorithm                            canonical                  SubjectPublicKeyInfo      JWK
//	Ed25519                              32 bytes, RFC 8032 5.1.2   RFC 8410                  OKP, RFC 8037
//	X25519, HPKE and ECIES over it       32 bytes, RFC 7748 5       RFC 8410                  OKP, RFC 8037
//	ECDSA-P256, P384, P521; ECDH, HPKE   04 || X || Y, SEC 1 2.3.3  RFC 5480, named curve     EC, RFC 7518 6.2
//	and ECIES over P-256 and P-384
//	RSA-PSS, RSA-PKCS1, RSA-OAEP         RSAPublicKey in DER,       RFC 3279 2.3.1,           RSA, RFC 7518 6.3
//	                                     RFC 8017 A.1.1             rsaEncryption
//	ML-DSA                               FIPS 204 algorithm 22      RFC 9881                  AKP, RFC 9964
//	SLH-DSA                              PK.seed || PK.root         RFC 9909                  none yet
//	ML-KEM                               FIPS 203 section 7.1       RFC 9935                  none yet
//	Ed25519+ML-DSA-65, X-Wing, hybrid    as their packages say      none                      none
//	HPKE
//
// What is written is one text only, and reading accepts only that text (PEM may have other line breaks): DER that is not
// canonical, parameters that a form does not have, compressed points and RSA keys with the identifiers of PSS or OAEP are
// refused. Whatever goes in or comes out is checked: the length, that an EC point is on its curve, that the coefficients of
// ML-KEM are reduced, that an RSA modulus has the bits of the name and an odd exponent of at least 65537. Keys of Curve25519
// and Ed25519 are checked by length here; whether they are good points is for the packages that use them.
//
// A JWK has "use" (sig or enc) and, where the key type wants it, "alg". An RSA or EC key can serve several values of "alg", so
// none is claimed.
package keyenc
