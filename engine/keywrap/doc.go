// Package keywrap is the host half of CKM_RSA_AES_KEY_WRAP (PKCS#11 v3.0 mechanisms, section 2.1.23), by which a key travels
// to a key service that has published an RSA key for it. A wrapped key is
//
//	RSA-OAEP(transport key) (as long as the modulus) || AES-KWP(transport key, key) (8 to 15 bytes longer than the key)
//
//	transport key  32 random bytes, for AES-256
//	RSA-OAEP       RFC 8017 section 7.1, no label, one hash for it and for MGF1
//	AES-KWP        RFC 5649, KWP of SP 800-38F section 6.3, by tink-go
//
// The key is PKCS#8 (RFC 5958) for private keys and the bare value for secret ones: this package does not look into it. It has
// 16 to 8192 bytes: tink-go wraps no shorter ones, for which RFC 5649 has a form of one block, and there are none here.
//
// The hash of OAEP is SHA-256, or SHA-1 where a token has nothing better. OAEP does not rest on collisions. In Go's FIPS mode
// GODEBUG=fips140=on both work, with fips140=only SHA-1 is refused.
package keywrap
