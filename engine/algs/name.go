package algs

// Name is an algorithm's name as it stands in requests, records and ciphertext headers.
type Name string

// Authenticated encryption of data under a context's key.
const (
	AES128GCM        Name = "AES-128-GCM"
	AES192GCM        Name = "AES-192-GCM"
	AES256GCM        Name = "AES-256-GCM"
	AES256CBC        Name = "AES-256-CBC" // with HMAC-SHA256, encrypt-then-MAC
	AES256CTR        Name = "AES-256-CTR" // with HMAC-SHA256, encrypt-then-MAC
	AES256CCM        Name = "AES-256-CCM"
	AES256GCMSIV     Name = "AES-256-GCM-SIV"
	ChaCha20Poly1305 Name = "ChaCha20-Poly1305"
	AES256XTS        Name = "AES-256-XTS" // with HMAC-SHA256; read from imported ciphertexts only
)

// Encryption of data under a key that a key encapsulation gives for each message.
const (
	AES256GCMMLKEM768        Name = "AES-256-GCM+ML-KEM-768"
	AES256GCMMLKEM1024       Name = "AES-256-GCM+ML-KEM-1024"
	X25519MLKEM768AES256GCM  Name = "X25519MLKEM768+AES-256-GCM" // X-Wing
	P256MLKEM768AES256GCM    Name = "P256MLKEM768+AES-256-GCM"   // the KEM of HPKE MLKEM768-P256
	ChaCha20Poly1305MLKEM768 Name = "ChaCha20-Poly1305+ML-KEM-768"
)

// Hash functions. The SHAKE functions give as many bytes as they are asked for.
const (
	SHA224     Name = "SHA-224"
	SHA256     Name = "SHA-256"
	SHA384     Name = "SHA-384"
	SHA512     Name = "SHA-512"
	SHA512_256 Name = "SHA-512/256" //nolint:staticcheck // the standard separates the numbers
	SHA3_224   Name = "SHA3-224"    //nolint:staticcheck // the standard separates the numbers
	SHA3_256   Name = "SHA3-256"    //nolint:staticcheck // the standard separates the numbers
	SHA3_384   Name = "SHA3-384"    //nolint:staticcheck // the standard separates the numbers
	SHA3_512   Name = "SHA3-512"    //nolint:staticcheck // the standard separates the numbers
	SHAKE128   Name = "SHAKE128"
	SHAKE256   Name = "SHAKE256"
	BLAKE2b256 Name = "BLAKE2b-256"
	BLAKE2b512 Name = "BLAKE2b-512"
)

// Message authentication codes.
const (
	HMACSHA256   Name = "HMAC-SHA256"
	HMACSHA384   Name = "HMAC-SHA384"
	HMACSHA512   Name = "HMAC-SHA512"
	HMACSHA3_256 Name = "HMAC-SHA3-256" //nolint:staticcheck // the standard separates the numbers
	AES128CMAC   Name = "AES-128-CMAC"
	AES256CMAC   Name = "AES-256-CMAC"
	KMAC128      Name = "KMAC128"
	KMAC256      Name = "KMAC256"
)

// Key derivation from secrets and from passwords.
const (
	HKDFSHA256      Name = "HKDF-SHA256"
	HKDFSHA384      Name = "HKDF-SHA384"
	HKDFSHA512      Name = "HKDF-SHA512"
	KBKDFHMACSHA256 Name = "KBKDF-HMAC-SHA256"
	KBKDFHMACSHA384 Name = "KBKDF-HMAC-SHA384"
	KBKDFHMACSHA512 Name = "KBKDF-HMAC-SHA512"
	PBKDF2SHA256    Name = "PBKDF2-SHA256"
	PBKDF2SHA512    Name = "PBKDF2-SHA512"
	Argon2id        Name = "Argon2id"
	Scrypt          Name = "scrypt"
)

// Signatures.
const (
	Ed25519         Name = "Ed25519"
	ECDSAP256       Name = "ECDSA-P256"
	ECDSAP384       Name = "ECDSA-P384"
	ECDSAP521       Name = "ECDSA-P521"
	RSAPSS2048      Name = "RSA-PSS-2048"
	RSAPSS3072      Name = "RSA-PSS-3072"
	RSAPSS4096      Name = "RSA-PSS-4096"
	RSAPKCS12048    Name = "RSA-PKCS1-2048"
	RSAPKCS13072    Name = "RSA-PKCS1-3072"
	RSAPKCS14096    Name = "RSA-PKCS1-4096"
	MLDSA44         Name = "ML-DSA-44"
	MLDSA65         Name = "ML-DSA-65"
	MLDSA87         Name = "ML-DSA-87"
	SLHDSASHA2128s  Name = "SLH-DSA-SHA2-128s"
	SLHDSASHA2128f  Name = "SLH-DSA-SHA2-128f"
	SLHDSASHA2192s  Name = "SLH-DSA-SHA2-192s"
	SLHDSASHA2192f  Name = "SLH-DSA-SHA2-192f"
	SLHDSASHA2256s  Name = "SLH-DSA-SHA2-256s"
	SLHDSASHA2256f  Name = "SLH-DSA-SHA2-256f"
	SLHDSASHAKE128s Name = "SLH-DSA-SHAKE-128s"
	SLHDSASHAKE128f Name = "SLH-DSA-SHAKE-128f"
	SLHDSASHAKE192s Name = "SLH-DSA-SHAKE-192s"
	SLHDSASHAKE192f Name = "SLH-DSA-SHAKE-192f"
	SLHDSASHAKE256s Name = "SLH-DSA-SHAKE-256s"
	SLHDSASHAKE256f Name = "SLH-DSA-SHAKE-256f"
	Ed25519MLDSA65  Name = "Ed25519+ML-DSA-65" // both signatures must verify
)

// Key encapsulation.
const (
	MLKEM512  Name = "ML-KEM-512"
	MLKEM768  Name = "ML-KEM-768"
	MLKEM1024 Name = "ML-KEM-1024"
	XWing     Name = "X-Wing"
)

// Key agreement.
const (
	X25519   Name = "X25519"
	ECDHP256 Name = "ECDH-P256"
	ECDHP384 Name = "ECDH-P384"
)

// Encryption to a public key.
const (
	HPKEX25519AES256GCM        Name = "HPKE-X25519-SHA256-AES256GCM"
	HPKEX25519ChaCha20Poly1305 Name = "HPKE-X25519-SHA256-CHACHA20POLY1305"
	HPKEP256AES128GCM          Name = "HPKE-P256-SHA256-AES128GCM"
	HPKEP256AES256GCM          Name = "HPKE-P256-SHA256-AES256GCM"
	HPKEP384AES256GCM          Name = "HPKE-P384-SHA384-AES256GCM"
	HPKEMLKEM768P256           Name = "HPKE-MLKEM768P256-SHA256-AES256GCM"
	HPKEMLKEM768X25519         Name = "HPKE-MLKEM768X25519-SHA256-AES256GCM"
	ECIESX25519                Name = "ECIES-X25519-AES256GCM"
	ECIESP256                  Name = "ECIES-P256-AES256GCM"
	ECIESP384                  Name = "ECIES-P384-AES256GCM"
	RSAOAEP2048                Name = "RSA-OAEP-2048" // SHA-256
	RSAOAEP3072                Name = "RSA-OAEP-3072"
	RSAOAEP4096                Name = "RSA-OAEP-4096"
)

// Class groups algorithms by what they do. The zero Class is unknown and refused.
type Class uint8

// The classes.
const (
	ClassUnknown Class = iota
	ClassAEAD
	ClassHybrid // encryption of data under an encapsulated key
	ClassHash   // hash and extendable-output functions
	ClassMAC
	ClassKDF      // key derivation from secrets
	ClassPassword // key derivation from passwords, and their storage
	ClassSignature
	ClassKEM
	ClassAgreement
	ClassPublicEncryption
)

var classNames = [...]string{
	"unknown", "aead", "hybrid", "hash", "mac", "kdf", "password", "signature", "kem", "agreement", "public-encryption",
}

func (c Class) String() string {
	if int(c) >= len(classNames) {
		return classNames[ClassUnknown]
	}
	return classNames[c]
}

// Runs tells which implementation computes an algorithm. The zero value is unknown.
type Runs uint8

// Where an algorithm runs when its key is not in the token.
const (
	RunsUnknown Runs = iota
	// RunsModule: the Go Cryptographic Module computes all of it.
	RunsModule
	// RunsLibrary: at least a part comes from circl, tink-go, pion, x/crypto or a part of the standard library outside the
	// module, or uses the module in a way that it does not count as approved. No validation covers it.
	RunsLibrary
	// RunsComposed: its primitives come from the module, and what combines them does not.
	RunsComposed
)

func (r Runs) String() string {
	switch r {
	case RunsModule:
		return "module"
	case RunsLibrary:
		return "library"
	case RunsComposed:
		return "composed"
	default:
		return "unknown"
	}
}

// Approval tells whether the algorithm, whoever computes it, may be used where only approved algorithms may. The zero value
// refuses.
type Approval uint8

// The approvals.
const (
	NotApproved Approval = iota
	ApprovedProcess
	Approved
)

func (a Approval) String() string {
	switch a {
	case ApprovedProcess:
		return "process"
	case Approved:
		return "yes"
	default:
		return "no"
	}
}
