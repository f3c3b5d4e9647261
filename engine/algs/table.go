// Package algs is the table of algorithms: one row each, and every decision about an algorithm reads a row. It also holds
// the FIPS modes, which are a rule over the rows.
package algs

// Row describes one algorithm. Approval is about the algorithm; Runs tells which implementation computes it: the two are
// different claims.
type Row struct {
	Name         Name
	Class        Class
	KeyBits      uint16 // of the secret key that the algorithm takes; 0 where its key is a pair or comes with the request
	SecurityBits uint16 // against classical computers
	QuantumSafe  bool
	Source       string
	Approval     Approval
	Runs         Runs
	// Instead is the approved algorithm that FIPS mode preferred takes where it may choose.
	Instead Name
	// ReadOnly algorithms only process what an imported deployment has written.
	ReadOnly bool
	// MaxPlaintext is the longest message in bytes; 0 means that only memory limits it.
	MaxPlaintext uint64
}

// The limits of a message, in bytes.
const (
	gcmMaxPlaintext    = (1<<32 - 2) * 16 // SP 800-38D section 5.2.1.1
	sivMaxPlaintext    = 1<<31 - 1        // of the library; RFC 8452 section 6 allows 2^36
	chachaMaxPlaintext = (1<<32 - 1) * 64 // RFC 8439 section 2.8
	ccmMaxPlaintext    = 64 << 10         // the specification's limit; SP 800-38C with a 12-byte nonce allows 2^24-1
)

var rows = []Row{
	// Data under a context's key. AES-GCM is limited to 2^32-2 blocks a message: SP 800-38D section 5.2.1.1.
	{Name: AES128GCM, Class: ClassAEAD, KeyBits: 128, SecurityBits: 128, Source: "SP 800-38D", Approval: Approved, Runs: RunsModule, MaxPlaintext: gcmMaxPlaintext},
	{Name: AES192GCM, Class: ClassAEAD, KeyBits: 192, SecurityBits: 192, QuantumSafe: true, Source: "SP 800-38D", Approval: Approved, Runs: RunsModule, MaxPlaintext: gcmMaxPlaintext},
	{Name: AES256GCM, Class: ClassAEAD, KeyBits: 256, SecurityBits: 256, QuantumSafe: true, Source: "SP 800-38D", Approval: Approved, Runs: RunsModule, MaxPlaintext: gcmMaxPlaintext},
	{Name: AES256CBC, Class: ClassAEAD, KeyBits: 256, SecurityBits: 256, QuantumSafe: true, Source: "SP 800-38A, FIPS 198-1", Approval: Approved, Runs: RunsComposed},
	{Name: AES256CTR, Class: ClassAEAD, KeyBits: 256, SecurityBits: 256, QuantumSafe: true, Source: "SP 800-38A, FIPS 198-1", Approval: Approved, Runs: RunsComposed, MaxPlaintext: gcmMaxPlaintext},
	{Name: AES256CCM, Class: ClassAEAD, KeyBits: 256, SecurityBits: 256, QuantumSafe: true, Source: "SP 800-38C", Approval: Approved, Runs: RunsLibrary, MaxPlaintext: ccmMaxPlaintext},
	{Name: AES256GCMSIV, Class: ClassAEAD, KeyBits: 256, SecurityBits: 256, QuantumSafe: true, Source: "RFC 8452", Runs: RunsLibrary, Instead: AES256GCM, MaxPlaintext: sivMaxPlaintext},
	{Name: ChaCha20Poly1305, Class: ClassAEAD, KeyBits: 256, SecurityBits: 256, QuantumSafe: true, Source: "RFC 8439", Runs: RunsLibrary, Instead: AES256GCM, MaxPlaintext: chachaMaxPlaintext},
	{Name: AES256XTS, Class: ClassAEAD, KeyBits: 512, SecurityBits: 256, QuantumSafe: true, Source: "SP 800-38E", Runs: RunsLibrary, ReadOnly: true},

	// Data under an encapsulated key.
	{Name: AES256GCMMLKEM768, Class: ClassHybrid, KeyBits: 256, SecurityBits: 192, QuantumSafe: true, Source: "FIPS 203, SP 800-38D", Approval: Approved, Runs: RunsComposed, MaxPlaintext: gcmMaxPlaintext},
	{Name: AES256GCMMLKEM1024, Class: ClassHybrid, KeyBits: 256, SecurityBits: 256, QuantumSafe: true, Source: "FIPS 203, SP 800-38D", Approval: Approved, Runs: RunsComposed, MaxPlaintext: gcmMaxPlaintext},
	{Name: X25519MLKEM768AES256GCM, Class: ClassHybrid, KeyBits: 256, SecurityBits: 192, QuantumSafe: true, Source: "draft-connolly-cfrg-xwing-kem-10, SP 800-38D", Runs: RunsLibrary, Instead: P256MLKEM768AES256GCM, MaxPlaintext: gcmMaxPlaintext},
	{Name: P256MLKEM768AES256GCM, Class: ClassHybrid, KeyBits: 256, SecurityBits: 192, QuantumSafe: true, Source: "draft-ietf-hpke-pq, FIPS 203, SP 800-56A, SP 800-38D", Approval: Approved, Runs: RunsComposed, MaxPlaintext: gcmMaxPlaintext},
	{Name: ChaCha20Poly1305MLKEM768, Class: ClassHybrid, KeyBits: 256, SecurityBits: 192, QuantumSafe: true, Source: "FIPS 203, RFC 8439", Runs: RunsLibrary, ReadOnly: true, MaxPlaintext: chachaMaxPlaintext},

	// Hashes. Security bits are those of collisions.
	{Name: SHA224, Class: ClassHash, SecurityBits: 112, Source: "FIPS 180-4", Approval: Approved, Runs: RunsModule},
	{Name: SHA256, Class: ClassHash, SecurityBits: 128, QuantumSafe: true, Source: "FIPS 180-4", Approval: Approved, Runs: RunsModule},
	{Name: SHA384, Class: ClassHash, SecurityBits: 192, QuantumSafe: true, Source: "FIPS 180-4", Approval: Approved, Runs: RunsModule},
	{Name: SHA512, Class: ClassHash, SecurityBits: 256, QuantumSafe: true, Source: "FIPS 180-4", Approval: Approved, Runs: RunsModule},
	{Name: SHA512_256, Class: ClassHash, SecurityBits: 128, QuantumSafe: true, Source: "FIPS 180-4", Approval: Approved, Runs: RunsModule},
	{Name: SHA3_224, Class: ClassHash, SecurityBits: 112, Source: "FIPS 202", Approval: Approved, Runs: RunsModule},
	{Name: SHA3_256, Class: ClassHash, SecurityBits: 128, QuantumSafe: true, Source: "FIPS 202", Approval: Approved, Runs: RunsModule},
	{Name: SHA3_384, Class: ClassHash, SecurityBits: 192, QuantumSafe: true, Source: "FIPS 202", Approval: Approved, Runs: RunsModule},
	{Name: SHA3_512, Class: ClassHash, SecurityBits: 256, QuantumSafe: true, Source: "FIPS 202", Approval: Approved, Runs: RunsModule},
	{Name: SHAKE128, Class: ClassHash, SecurityBits: 128, QuantumSafe: true, Source: "FIPS 202", Approval: Approved, Runs: RunsModule},
	{Name: SHAKE256, Class: ClassHash, SecurityBits: 256, QuantumSafe: true, Source: "FIPS 202", Approval: Approved, Runs: RunsModule},
	{Name: BLAKE2b256, Class: ClassHash, SecurityBits: 128, QuantumSafe: true, Source: "RFC 7693", Runs: RunsLibrary, Instead: SHA256},
	{Name: BLAKE2b512, Class: ClassHash, SecurityBits: 256, QuantumSafe: true, Source: "RFC 7693", Runs: RunsLibrary, Instead: SHA512},

	// Message authentication codes.
	{Name: HMACSHA256, Class: ClassMAC, KeyBits: 256, SecurityBits: 256, QuantumSafe: true, Source: "FIPS 198-1", Approval: Approved, Runs: RunsModule},
	{Name: HMACSHA384, Class: ClassMAC, KeyBits: 384, SecurityBits: 256, QuantumSafe: true, Source: "FIPS 198-1", Approval: Approved, Runs: RunsModule},
	{Name: HMACSHA512, Class: ClassMAC, KeyBits: 512, SecurityBits: 256, QuantumSafe: true, Source: "FIPS 198-1", Approval: Approved, Runs: RunsModule},
	{Name: HMACSHA3_256, Class: ClassMAC, KeyBits: 256, SecurityBits: 256, QuantumSafe: true, Source: "FIPS 198-1, FIPS 202", Approval: Approved, Runs: RunsModule},
	{Name: AES128CMAC, Class: ClassMAC, KeyBits: 128, SecurityBits: 128, Source: "SP 800-38B", Approval: Approved, Runs: RunsLibrary},
	{Name: AES256CMAC, Class: ClassMAC, KeyBits: 256, SecurityBits: 128, Source: "SP 800-38B", Approval: Approved, Runs: RunsLibrary},
	{Name: KMAC128, Class: ClassMAC, KeyBits: 256, SecurityBits: 128, Source: "SP 800-185", Approval: Approved, Runs: RunsComposed},
	{Name: KMAC256, Class: ClassMAC, KeyBits: 256, SecurityBits: 256, QuantumSafe: true, Source: "SP 800-185", Approval: Approved, Runs: RunsComposed},

	// Key derivation.
	{Name: HKDFSHA256, Class: ClassKDF, SecurityBits: 256, QuantumSafe: true, Source: "RFC 5869, SP 800-56C", Approval: Approved, Runs: RunsModule},
	{Name: HKDFSHA384, Class: ClassKDF, SecurityBits: 256, QuantumSafe: true, Source: "RFC 5869, SP 800-56C", Approval: Approved, Runs: RunsModule},
	{Name: HKDFSHA512, Class: ClassKDF, SecurityBits: 256, QuantumSafe: true, Source: "RFC 5869, SP 800-56C", Approval: Approved, Runs: RunsModule},
	{Name: KBKDFHMACSHA256, Class: ClassKDF, SecurityBits: 256, QuantumSafe: true, Source: "SP 800-108", Approval: Approved, Runs: RunsComposed},
	{Name: KBKDFHMACSHA384, Class: ClassKDF, SecurityBits: 256, QuantumSafe: true, Source: "SP 800-108", Approval: Approved, Runs: RunsComposed},
	{Name: KBKDFHMACSHA512, Class: ClassKDF, SecurityBits: 256, QuantumSafe: true, Source: "SP 800-108", Approval: Approved, Runs: RunsComposed},
	{Name: PBKDF2SHA256, Class: ClassPassword, SecurityBits: 128, QuantumSafe: true, Source: "SP 800-132, RFC 8018", Approval: Approved, Runs: RunsModule},
	{Name: PBKDF2SHA512, Class: ClassPassword, SecurityBits: 256, QuantumSafe: true, Source: "SP 800-132, RFC 8018", Approval: Approved, Runs: RunsModule},
	{Name: Argon2id, Class: ClassPassword, SecurityBits: 256, QuantumSafe: true, Source: "RFC 9106", Runs: RunsLibrary, Instead: PBKDF2SHA256},
	{Name: Scrypt, Class: ClassPassword, SecurityBits: 256, QuantumSafe: true, Source: "RFC 7914", Runs: RunsLibrary, Instead: PBKDF2SHA256},

	// Signatures. RSA strength is that of SP 800-57 part 1, table 2.
	{Name: Ed25519, Class: ClassSignature, SecurityBits: 128, Source: "FIPS 186-5, RFC 8032", Approval: Approved, Runs: RunsModule},
	{Name: ECDSAP256, Class: ClassSignature, SecurityBits: 128, Source: "FIPS 186-5", Approval: Approved, Runs: RunsModule},
	{Name: ECDSAP384, Class: ClassSignature, SecurityBits: 192, Source: "FIPS 186-5", Approval: Approved, Runs: RunsModule},
	{Name: ECDSAP521, Class: ClassSignature, SecurityBits: 256, Source: "FIPS 186-5", Approval: Approved, Runs: RunsModule},
	{Name: RSAPSS2048, Class: ClassSignature, SecurityBits: 112, Source: "FIPS 186-5, RFC 8017", Approval: Approved, Runs: RunsModule},
	{Name: RSAPSS3072, Class: ClassSignature, SecurityBits: 128, Source: "FIPS 186-5, RFC 8017", Approval: Approved, Runs: RunsModule},
	{Name: RSAPSS4096, Class: ClassSignature, SecurityBits: 152, Source: "FIPS 186-5, RFC 8017", Approval: Approved, Runs: RunsModule},
	{Name: RSAPKCS12048, Class: ClassSignature, SecurityBits: 112, Source: "FIPS 186-5, RFC 8017", Approval: Approved, Runs: RunsModule},
	{Name: RSAPKCS13072, Class: ClassSignature, SecurityBits: 128, Source: "FIPS 186-5, RFC 8017", Approval: Approved, Runs: RunsModule},
	{Name: RSAPKCS14096, Class: ClassSignature, SecurityBits: 152, Source: "FIPS 186-5, RFC 8017", Approval: Approved, Runs: RunsModule},
	{Name: MLDSA44, Class: ClassSignature, SecurityBits: 128, QuantumSafe: true, Source: "FIPS 204", Approval: Approved, Runs: RunsLibrary},
	{Name: MLDSA65, Class: ClassSignature, SecurityBits: 192, QuantumSafe: true, Source: "FIPS 204", Approval: Approved, Runs: RunsLibrary},
	{Name: MLDSA87, Class: ClassSignature, SecurityBits: 256, QuantumSafe: true, Source: "FIPS 204", Approval: Approved, Runs: RunsLibrary},
	{Name: SLHDSASHA2128s, Class: ClassSignature, SecurityBits: 128, QuantumSafe: true, Source: "FIPS 205", Approval: Approved, Runs: RunsLibrary},
	{Name: SLHDSASHA2128f, Class: ClassSignature, SecurityBits: 128, QuantumSafe: true, Source: "FIPS 205", Approval: Approved, Runs: RunsLibrary},
	{Name: SLHDSASHA2192s, Class: ClassSignature, SecurityBits: 192, QuantumSafe: true, Source: "FIPS 205", Approval: Approved, Runs: RunsLibrary},
	{Name: SLHDSASHA2192f, Class: ClassSignature, SecurityBits: 192, QuantumSafe: true, Source: "FIPS 205", Approval: Approved, Runs: RunsLibrary},
	{Name: SLHDSASHA2256s, Class: ClassSignature, SecurityBits: 256, QuantumSafe: true, Source: "FIPS 205", Approval: Approved, Runs: RunsLibrary},
	{Name: SLHDSASHA2256f, Class: ClassSignature, SecurityBits: 256, QuantumSafe: true, Source: "FIPS 205", Approval: Approved, Runs: RunsLibrary},
	{Name: SLHDSASHAKE128s, Class: ClassSignature, SecurityBits: 128, QuantumSafe: true, Source: "FIPS 205", Approval: Approved, Runs: RunsLibrary},
	{Name: SLHDSASHAKE128f, Class: ClassSignature, SecurityBits: 128, QuantumSafe: true, Source: "FIPS 205", Approval: Approved, Runs: RunsLibrary},
	{Name: SLHDSASHAKE192s, Class: ClassSignature, SecurityBits: 192, QuantumSafe: true, Source: "FIPS 205", Approval: Approved, Runs: RunsLibrary},
	{Name: SLHDSASHAKE192f, Class: ClassSignature, SecurityBits: 192, QuantumSafe: true, Source: "FIPS 205", Approval: Approved, Runs: RunsLibrary},
	{Name: SLHDSASHAKE256s, Class: ClassSignature, SecurityBits: 256, QuantumSafe: true, Source: "FIPS 205", Approval: Approved, Runs: RunsLibrary},
	{Name: SLHDSASHAKE256f, Class: ClassSignature, SecurityBits: 256, QuantumSafe: true, Source: "FIPS 205", Approval: Approved, Runs: RunsLibrary},
	{Name: Ed25519MLDSA65, Class: ClassSignature, SecurityBits: 192, QuantumSafe: true, Source: "FIPS 186-5, FIPS 204", Approval: Approved, Runs: RunsLibrary},

	// Key encapsulation, key agreement and encryption to a public key.
	{Name: MLKEM512, Class: ClassKEM, SecurityBits: 128, QuantumSafe: true, Source: "FIPS 203", Approval: Approved, Runs: RunsLibrary},
	{Name: MLKEM768, Class: ClassKEM, SecurityBits: 192, QuantumSafe: true, Source: "FIPS 203", Approval: Approved, Runs: RunsModule},
	{Name: MLKEM1024, Class: ClassKEM, SecurityBits: 256, QuantumSafe: true, Source: "FIPS 203", Approval: Approved, Runs: RunsModule},
	{Name: XWing, Class: ClassKEM, SecurityBits: 192, QuantumSafe: true, Source: "draft-connolly-cfrg-xwing-kem-10", Runs: RunsLibrary, Instead: MLKEM768},
	{Name: X25519, Class: ClassAgreement, SecurityBits: 128, Source: "RFC 7748", Runs: RunsLibrary, Instead: ECDHP256},
	{Name: ECDHP256, Class: ClassAgreement, SecurityBits: 128, Source: "SP 800-56A", Approval: Approved, Runs: RunsModule},
	{Name: ECDHP384, Class: ClassAgreement, SecurityBits: 192, Source: "SP 800-56A", Approval: Approved, Runs: RunsModule},
	// HPKE derives its nonces, which version 1.0.0 of the module does not count as an approved service.
	{Name: HPKEX25519AES256GCM, Class: ClassPublicEncryption, SecurityBits: 128, Source: "RFC 9180", Runs: RunsLibrary, Instead: HPKEP256AES256GCM},
	{Name: HPKEX25519ChaCha20Poly1305, Class: ClassPublicEncryption, SecurityBits: 128, Source: "RFC 9180", Runs: RunsLibrary, Instead: HPKEP256AES256GCM},
	{Name: HPKEP256AES128GCM, Class: ClassPublicEncryption, SecurityBits: 128, Source: "RFC 9180", Approval: Approved, Runs: RunsLibrary},
	{Name: HPKEP256AES256GCM, Class: ClassPublicEncryption, SecurityBits: 128, Source: "RFC 9180", Approval: Approved, Runs: RunsLibrary},
	{Name: HPKEP384AES256GCM, Class: ClassPublicEncryption, SecurityBits: 192, Source: "RFC 9180", Approval: Approved, Runs: RunsLibrary},
	{Name: HPKEMLKEM768P256, Class: ClassPublicEncryption, SecurityBits: 192, QuantumSafe: true, Source: "RFC 9180, draft-ietf-hpke-pq", Approval: Approved, Runs: RunsLibrary},
	{Name: HPKEMLKEM768X25519, Class: ClassPublicEncryption, SecurityBits: 192, QuantumSafe: true, Source: "RFC 9180, draft-ietf-hpke-pq", Runs: RunsLibrary, Instead: HPKEMLKEM768P256},
	{Name: ECIESX25519, Class: ClassPublicEncryption, SecurityBits: 128, Source: "SEC 1 section 5.1 with RFC 5869", Runs: RunsLibrary, Instead: ECIESP256},
	{Name: ECIESP256, Class: ClassPublicEncryption, SecurityBits: 128, Source: "SEC 1 section 5.1 with RFC 5869", Approval: Approved, Runs: RunsComposed},
	{Name: ECIESP384, Class: ClassPublicEncryption, SecurityBits: 192, Source: "SEC 1 section 5.1 with RFC 5869", Approval: Approved, Runs: RunsComposed},
	{Name: RSAOAEP2048, Class: ClassPublicEncryption, SecurityBits: 112, Source: "SP 800-56B, RFC 8017", Approval: Approved, Runs: RunsModule},
	{Name: RSAOAEP3072, Class: ClassPublicEncryption, SecurityBits: 128, Source: "SP 800-56B, RFC 8017", Approval: Approved, Runs: RunsModule},
	{Name: RSAOAEP4096, Class: ClassPublicEncryption, SecurityBits: 152, Source: "SP 800-56B, RFC 8017", Approval: Approved, Runs: RunsModule},
}

var byName = func() map[Name]*Row {
	m := make(map[Name]*Row, len(rows))
	for i := range rows {
		m[rows[i].Name] = &rows[i]
	}
	return m
}()

// Rows returns the table in its order. The caller must not change it.
func Rows() []Row { return rows }

// Lookup returns the row of a name. An unknown name is refused by every caller.
func Lookup(name Name) (Row, bool) {
	if r, ok := byName[name]; ok {
		return *r, true
	}
	return Row{}, false
}

// Of returns the row of a name that must be of one of the classes.
func Of(name Name, classes ...Class) (Row, bool) {
	r, ok := Lookup(name)
	if !ok {
		return Row{}, false
	}
	for _, c := range classes {
		if r.Class == c {
			return r, true
		}
	}
	return Row{}, false
}
