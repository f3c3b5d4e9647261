package wire

// BatchEncryptRequest asks to encrypt each item in one context: 1,000 items and 16 MiB at most.
type BatchEncryptRequest struct {
	Context   string             `json:"context"`
	Usage     string             `json:"usage,omitempty"`
	Algorithm string             `json:"algorithm,omitempty"`
	Items     []BatchEncryptItem `json:"items"`
}

// BatchEncryptItem is one plaintext of a batch. The reference is the caller's and comes back.
type BatchEncryptItem struct {
	Reference      string `json:"reference,omitempty"`
	Plaintext      []byte `json:"plaintext"`
	AssociatedData []byte `json:"associated_data,omitempty"`
}

// BatchEncryptResponse holds a result for each item, in their order. All were encrypted under one key version.
type BatchEncryptResponse struct {
	Results   []BatchEncryptResult `json:"results"`
	Succeeded int                  `json:"succeeded"`
	Failed    int                  `json:"failed"`
	Warnings  []string             `json:"warnings"`
}

// BatchEncryptResult is what became of one item: a frame, or an error.
type BatchEncryptResult struct {
	Reference  string     `json:"reference,omitempty"`
	Ciphertext []byte     `json:"ciphertext,omitempty"`
	Algorithm  string     `json:"algorithm,omitempty"`
	KeyID      string     `json:"key_id,omitempty"`
	Format     int        `json:"format,omitzero"`
	Error      *ItemError `json:"error,omitempty"`
}

// ItemError is why one item of a batch failed: code and detail as a Problem has them.
type ItemError struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// BatchDecryptRequest asks to open each item in one context. It is also the request to rewrap each.
type BatchDecryptRequest struct {
	Context string             `json:"context"`
	Items   []BatchDecryptItem `json:"items"`
}

// BatchDecryptItem is one frame of a batch.
type BatchDecryptItem struct {
	Reference      string `json:"reference,omitempty"`
	Ciphertext     []byte `json:"ciphertext"`
	AssociatedData []byte `json:"associated_data,omitempty"`
}

// BatchDecryptResponse holds a result for each item, in their order.
type BatchDecryptResponse struct {
	Results   []BatchDecryptResult `json:"results"`
	Succeeded int                  `json:"succeeded"`
	Failed    int                  `json:"failed"`
}

// BatchDecryptResult is what became of one item: a plaintext, which may be empty, or an error.
type BatchDecryptResult struct {
	Reference string     `json:"reference,omitempty"`
	Plaintext []byte     `json:"plaintext,omitempty"` // present, if empty, when there is no error
	KeyID     string     `json:"key_id,omitempty"`
	Rewrap    bool       `json:"rewrap,omitzero"`
	Error     *ItemError `json:"error,omitempty"`
}

// RewrapRequest asks to encrypt what a frame holds anew, under the context's active key version. The plaintext does not
// leave. The answer is an EncryptResponse.
type RewrapRequest struct {
	Ciphertext     []byte `json:"ciphertext"`
	Context        string `json:"context"`
	AssociatedData []byte `json:"associated_data,omitempty"`
}

// DataKeyRequest asks for a new random key, encrypted in a context.
type DataKeyRequest struct {
	Context        string `json:"context"`
	AssociatedData []byte `json:"associated_data,omitempty"`
	Bytes          int    `json:"bytes,omitempty"` // 16, 24, 32 or 64; 0 means 32
}

// DataKeyResponse carries the key in clear, unless only the wrapped form was asked for, and as a frame that decrypt opens.
type DataKeyResponse struct {
	Plaintext  []byte   `json:"plaintext,omitempty"`
	Ciphertext []byte   `json:"ciphertext"`
	Algorithm  string   `json:"algorithm"`
	KeyID      string   `json:"key_id"`
	Format     int      `json:"format"`
	Warnings   []string `json:"warnings"`
}

// RandomRequest asks for random bytes of the token: 1 to 65,536.
type RandomRequest struct {
	Bytes int `json:"bytes"`
}

// RandomResponse carries them.
type RandomResponse struct {
	Random []byte `json:"random"`
}

// HashRequest asks for a digest. The algorithm may be empty for SHA-256; OutputBytes is for SHAKE.
type HashRequest struct {
	Data        []byte `json:"data"`
	Algorithm   string `json:"algorithm,omitempty"`
	OutputBytes int    `json:"output_bytes,omitempty"`
}

// HashResponse carries the digest, also in hex.
type HashResponse struct {
	Digest    []byte   `json:"digest"`
	Hex       string   `json:"hex"`
	Algorithm string   `json:"algorithm"`
	Warnings  []string `json:"warnings"`
}

// KDFRequest asks to derive a key. Which fields an algorithm takes: HKDF secret, salt, info; KBKDF secret, label, context;
// PBKDF2, Argon2id and scrypt secret (the password), salt and their cost, all of which must be given or none.
type KDFRequest struct {
	Algorithm   string   `json:"algorithm"`
	Secret      []byte   `json:"secret"`
	Salt        []byte   `json:"salt,omitempty"`
	Info        []byte   `json:"info,omitempty"`
	Label       []byte   `json:"label,omitempty"`
	Context     []byte   `json:"context,omitempty"`
	OutputBytes int      `json:"output_bytes"`
	Cost        *KDFCost `json:"cost,omitempty"`
}

// KDFCost is how much work a password costs. Each algorithm has its own fields.
type KDFCost struct {
	Iterations  int `json:"iterations,omitempty"`  // PBKDF2
	MemoryKiB   int `json:"memory_kib,omitempty"`  // Argon2id
	Time        int `json:"time,omitempty"`        // Argon2id
	Parallelism int `json:"parallelism,omitempty"` // Argon2id
	N           int `json:"n,omitempty"`           // scrypt
	R           int `json:"r,omitempty"`           // scrypt
	P           int `json:"p,omitempty"`           // scrypt
}

// KDFResponse carries the derived key.
type KDFResponse struct {
	Key       []byte   `json:"key"`
	Algorithm string   `json:"algorithm"`
	Warnings  []string `json:"warnings"`
}

// PasswordHashRequest asks for the string to store for a password (UTF-8 text). The algorithm may be empty.
type PasswordHashRequest struct {
	Password  string `json:"password"`
	Algorithm string `json:"algorithm,omitempty"` // Argon2id, scrypt, PBKDF2-SHA256 or PBKDF2-SHA512
}

// PasswordHashResponse carries it, in the PHC string format.
type PasswordHashResponse struct {
	Hash      string   `json:"hash"`
	Algorithm string   `json:"algorithm"`
	Warnings  []string `json:"warnings"`
}

// PasswordVerifyRequest asks whether a password is the one of a stored string.
type PasswordVerifyRequest struct {
	Password string `json:"password"`
	Hash     string `json:"hash"`
}

// PasswordVerifyResponse tells it. NeedsRehash tells that the string should be made anew at this sign-in.
type PasswordVerifyResponse struct {
	Valid       bool     `json:"valid"`
	NeedsRehash bool     `json:"needs_rehash"`
	Algorithm   string   `json:"algorithm"`
	Warnings    []string `json:"warnings"`
}
