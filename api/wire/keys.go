package wire

// CreateKeyRequest asks for a new key object in a context.
type CreateKeyRequest struct {
	Name        string `json:"name"`
	Context     string `json:"context"`
	Algorithm   string `json:"algorithm"`
	Purpose     string `json:"purpose,omitempty"`    // sign, mac, kem, agree or encrypt; empty means what the algorithm is for
	Protection  string `json:"protection,omitempty"` // host (default) or hsm
	Description string `json:"description,omitempty"`
}

// Key is a key object with its versions, newest first.
type Key struct {
	Name        string       `json:"name"`
	Context     string       `json:"context"`
	Description string       `json:"description"`
	Purpose     string       `json:"purpose"`
	Algorithm   string       `json:"algorithm"`
	Protection  string       `json:"protection"`
	Status      string       `json:"status"` // active or disabled
	KeyID       string       `json:"key_id"` // of the version that protects
	CreatedAt   string       `json:"created_at"`
	FIPS        KeyFIPS      `json:"fips"`
	Versions    []KeyVersion `json:"versions"`
}

// KeyFIPS tells apart whether the algorithm is approved and what computes it.
type KeyFIPS struct {
	ApprovedAlgorithm string `json:"approved_algorithm"` // yes, process or no
	RunsIn            string `json:"runs_in"`            // module, composed, library or token
	ValidatedModule   bool   `json:"validated_module"`   // of a token the appliance cannot know, so it says false
}

// KeyVersion is one version of a key object.
type KeyVersion struct {
	KeyID     string `json:"key_id"`
	Version   uint32 `json:"version"`
	State     string `json:"state"`
	Imported  bool   `json:"imported"`
	CreatedAt string `json:"created_at"`
	// PublicKey is the public half in its algorithm's own encoding; absent for secret keys.
	PublicKey []byte `json:"public_key,omitempty"`
}

// KeysResponse lists the key objects that the subject may use, in order of name.
type KeysResponse struct {
	Keys []Key `json:"keys"`
}

// PublicKeyResponse carries the public half of a version. PEM and JWK are absent where no standard has a form.
type PublicKeyResponse struct {
	KeyID     string         `json:"key_id"`
	Version   uint32         `json:"version"`
	Algorithm string         `json:"algorithm"`
	PublicKey []byte         `json:"public_key"`
	PEM       string         `json:"pem,omitempty"`
	JWK       map[string]any `json:"jwk,omitempty"`
}

// CreateImportRequest asks for a pair that one key can be imported with.
type CreateImportRequest struct {
	Protection string `json:"protection,omitempty"` // of the key to come: host (default) or hsm
}

// ImportResponse tells how to wrap the key: with an ephemeral AES-256 key by AES-KWP (RFC 5649), that one with RSA-OAEP, and
// the two one after the other, RSA first (PKCS#11 v3.0 CKM_RSA_AES_KEY_WRAP).
type ImportResponse struct {
	ImportID   string `json:"import_id"`
	Protection string `json:"protection"`
	PublicKey  string `json:"public_key"` // RSA, SubjectPublicKeyInfo in PEM
	OAEPHash   string `json:"oaep_hash"`  // SHA-256, or SHA-1 where the token knows no other
	ExpiresAt  string `json:"expires_at"`
}

// ImportKeyRequest brings a wrapped key: PKCS#8 of a private key, or a secret key's bytes. A key object that exists gets
// another version.
type ImportKeyRequest struct {
	CreateKeyRequest

	WrappedKey []byte `json:"wrapped_key"`
	PublicKey  string `json:"public_key,omitempty"` // PEM; needed for elliptic-curve keys with protection hsm
}

// LegacyImportRequest imports key versions of a deployment of the public original. The master key is HMAC-SHA256(salt, master
// string), wrapped as ImportResponse tells for protection hsm.
type LegacyImportRequest struct {
	ImportID      string          `json:"import_id,omitempty"`
	WrappedMaster []byte          `json:"wrapped_master,omitempty"`
	Master        uint32          `json:"master,omitempty"` // number of a master key imported before, instead of the two
	Keys          []LegacyVersion `json:"keys,omitempty"`
	HybridKeys    []LegacyPair    `json:"hybrid_keys,omitempty"`
}

// LegacyVersion is a row of the original's table of keys.
type LegacyVersion struct {
	KeyID   string `json:"key_id"`
	Context string `json:"context"`
	Tenant  string `json:"tenant"`
	Version uint32 `json:"version"`
}

// LegacyPair is a row of the original's table of post-quantum keys.
type LegacyPair struct {
	KeyID               string `json:"key_id"`
	Context             string `json:"context"`
	Algorithm           string `json:"algorithm"`
	Nonce               []byte `json:"nonce"`
	EncryptedPrivateKey []byte `json:"encrypted_private_key"`
	WrapInfo            string `json:"wrap_info,omitempty"`
}

// LegacyImportResponse tells what was imported: the token object is cs-legacy-<Master>.
type LegacyImportResponse struct {
	Master uint32 `json:"master"`
	Keys   int    `json:"keys"`
}

// SignRequest asks to sign with a key object.
type SignRequest struct {
	Key              string `json:"key"`
	Message          []byte `json:"message"`
	Prehashed        bool   `json:"prehashed,omitempty"`
	Hash             string `json:"hash,omitempty"`
	SignatureFormat  string `json:"signature_format,omitempty"`  // der or raw (ECDSA), or jws
	SignatureContext []byte `json:"signature_context,omitempty"` // ML-DSA and SLH-DSA
}

// SignResponse carries the signature, or the detached JWS if that was asked for.
type SignResponse struct {
	Signature []byte   `json:"signature,omitempty"`
	JWS       string   `json:"jws,omitempty"`
	KeyID     string   `json:"key_id"`
	Version   uint32   `json:"version"`
	Algorithm string   `json:"algorithm"`
	Warnings  []string `json:"warnings"`
}

// VerifyRequest asks whether a signature is one of a message by a key object.
type VerifyRequest struct {
	SignRequest

	Signature []byte `json:"signature,omitempty"`
	JWS       string `json:"jws,omitempty"`
	KeyID     string `json:"key_id,omitempty"` // the version; empty tries them, newest first
}

// VerifyResponse tells whether a signature or code is valid, and by which version.
type VerifyResponse struct {
	Valid     bool     `json:"valid"`
	KeyID     string   `json:"key_id,omitempty"`
	Algorithm string   `json:"algorithm"`
	Warnings  []string `json:"warnings"`
}

// MACRequest asks for the authentication code of a message under a key object.
type MACRequest struct {
	Key           string `json:"key"`
	Message       []byte `json:"message"`
	Customization []byte `json:"customization,omitempty"` // KMAC
	OutputBytes   int    `json:"output_bytes,omitempty"`
}

// MACResponse carries it.
type MACResponse struct {
	MAC       []byte   `json:"mac"`
	KeyID     string   `json:"key_id"`
	Version   uint32   `json:"version"`
	Algorithm string   `json:"algorithm"`
	Warnings  []string `json:"warnings"`
}

// MACVerifyRequest asks whether a code is that of a message. The answer is a VerifyResponse.
type MACVerifyRequest struct {
	MACRequest

	MAC   []byte `json:"mac"`
	KeyID string `json:"key_id,omitempty"`
}

// EncapsulateRequest asks for a shared secret for a key object.
type EncapsulateRequest struct {
	Key string `json:"key"`
}

// EncapsulateResponse carries it, and what the owner of the key gets it back from.
type EncapsulateResponse struct {
	Ciphertext   []byte   `json:"ciphertext"`
	SharedSecret []byte   `json:"shared_secret"`
	KeyID        string   `json:"key_id"`
	Algorithm    string   `json:"algorithm"`
	Warnings     []string `json:"warnings"`
}

// DecapsulateRequest asks for the shared secret of a ciphertext.
type DecapsulateRequest struct {
	Key        string `json:"key"`
	KeyID      string `json:"key_id,omitempty"` // the version; empty means the active one
	Ciphertext []byte `json:"ciphertext"`
}

// DecapsulateResponse carries it. A ciphertext that was not made for the key gives a secret that nobody else has.
type DecapsulateResponse struct {
	SharedSecret []byte   `json:"shared_secret"`
	KeyID        string   `json:"key_id"`
	Algorithm    string   `json:"algorithm"`
	Warnings     []string `json:"warnings"`
}

// AgreeRequest asks for a key agreed with a peer: HKDF-SHA256 over the shared secret of the curve.
type AgreeRequest struct {
	Key              string `json:"key"`
	KeyID            string `json:"key_id,omitempty"`
	PeerPublicKey    []byte `json:"peer_public_key,omitempty"`
	PeerPublicKeyPEM string `json:"peer_public_key_pem,omitempty"`
	Salt             []byte `json:"salt,omitempty"`
	Info             []byte `json:"info,omitempty"`
	Bytes            int    `json:"bytes,omitempty"` // 16 to 1024; 0 means 32
}

// AgreeResponse carries it.
type AgreeResponse struct {
	DerivedKey []byte   `json:"derived_key"`
	KeyID      string   `json:"key_id"`
	Algorithm  string   `json:"algorithm"`
	Warnings   []string `json:"warnings"`
}

// KeyEncryptRequest asks to encrypt to a key object of purpose encrypt.
type KeyEncryptRequest struct {
	Key            string `json:"key"`
	Plaintext      []byte `json:"plaintext"`
	Info           []byte `json:"info,omitempty"` // HPKE and ECIES
	AssociatedData []byte `json:"associated_data,omitempty"`
}

// KeyEncryptResponse carries the ciphertext in the form of the algorithm's standard.
type KeyEncryptResponse struct {
	Ciphertext []byte   `json:"ciphertext"`
	KeyID      string   `json:"key_id"`
	Algorithm  string   `json:"algorithm"`
	Warnings   []string `json:"warnings"`
}

// KeyDecryptRequest asks to decrypt what was encrypted to a key object.
type KeyDecryptRequest struct {
	Key            string `json:"key"`
	KeyID          string `json:"key_id,omitempty"` // the version; empty tries them, newest first
	Ciphertext     []byte `json:"ciphertext"`
	Info           []byte `json:"info,omitempty"`
	AssociatedData []byte `json:"associated_data,omitempty"`
}

// KeyDecryptResponse carries the plaintext.
type KeyDecryptResponse struct {
	Plaintext []byte   `json:"plaintext"`
	KeyID     string   `json:"key_id"`
	Algorithm string   `json:"algorithm"`
	Warnings  []string `json:"warnings"`
}

// Algorithm is a row of the node's table of algorithms.
type Algorithm struct {
	Name         string `json:"name"`
	Class        string `json:"class"`
	KeyBits      int    `json:"key_bits"` // 0 where keys are pairs or come with the request
	SecurityBits int    `json:"security_bits"`
	QuantumSafe  bool   `json:"quantum_safe"`
	Source       string `json:"source"`
	// ApprovedAlgorithm is yes, process or no: about the algorithm. RunsIn and ValidatedModule are about what computes it.
	ApprovedAlgorithm string `json:"approved_algorithm"`
	RunsIn            string `json:"runs_in"` // module, composed (primitives in the module, their combination not) or library
	ValidatedModule   bool   `json:"validated_module"`
	TokenKeys         bool   `json:"token_keys"` // keys can also be made and used in this node's token
	Protect           bool   `json:"protect"`    // the FIPS mode of this node allows it to protect
	Process           bool   `json:"process"`    // and to process
	MaxPlaintext      uint64 `json:"max_plaintext,omitzero"`
}

// AlgorithmsResponse is the whole table.
type AlgorithmsResponse struct {
	Algorithms []Algorithm `json:"algorithms"`
}

// FIPSResponse tells the FIPS mode and what is behind it.
type FIPSResponse struct {
	Mode               string   `json:"mode"`           // disabled, preferred or enabled
	Module             string   `json:"module"`         // version of the Go Cryptographic Module; latest is not validated
	ModuleEnabled      bool     `json:"module_enabled"` // it runs in its FIPS mode, its self-tests passed
	ModuleEnforced     bool     `json:"module_enforced"`
	ValidatedModule    bool     `json:"validated_module"`
	ApprovedAlgorithms int      `json:"approved_algorithms"`
	Algorithms         int      `json:"algorithms"`
	OutsideModule      []string `json:"approved_outside_module"` // approved algorithms that the module does not compute
	Token              string   `json:"token"`                   // what can be said of the HSM's validation
}
