// Package wire holds the JSON bodies of the API, one type for both sides. Byte strings are standard base64 with padding
// (RFC 4648 section 4). The shapes are fixed by api/openapi.yaml.
package wire

// EncryptRequest asks to encrypt Plaintext in a context. It may be empty but must be present.
type EncryptRequest struct {
	Plaintext      []byte `json:"plaintext"`
	Context        string `json:"context"`
	AssociatedData []byte `json:"associated_data,omitempty"`
	Usage          string `json:"usage,omitempty"`
	Algorithm      string `json:"algorithm,omitempty"`
}

// EncryptResponse carries the whole ciphertext frame.
type EncryptResponse struct {
	Ciphertext []byte   `json:"ciphertext"`
	Algorithm  string   `json:"algorithm"`
	KeyID      string   `json:"key_id"`
	Format     int      `json:"format"`
	Warnings   []string `json:"warnings"`
}

// DecryptRequest asks to open a ciphertext frame of a context.
type DecryptRequest struct {
	Ciphertext     []byte `json:"ciphertext"`
	Context        string `json:"context"`
	AssociatedData []byte `json:"associated_data,omitempty"`
}

// DecryptResponse carries the plaintext. Rewrap tells that the key version is no longer the one that protects.
type DecryptResponse struct {
	Plaintext []byte `json:"plaintext"`
	KeyID     string `json:"key_id"`
	Rewrap    bool   `json:"rewrap"`
}

// FenceHeader tells, in an answer to a change that took a right away, how many microseconds it took until no node of the cluster
// honoured the right any more. Answers to other changes, and those of a cluster of one, do not have it.
const FenceHeader = "Fence-Microseconds"

// CreateContextRequest asks for a new context. Only the name is required.
type CreateContextRequest struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	// Algorithm may be empty: what the layers resolve to, else AES-256-GCM, or a true hybrid with RequireQuantumSafe.
	Algorithm  string `json:"algorithm,omitempty"`
	Format     int    `json:"format,omitempty"`     // 3 or 4; 0 means 4
	Derivation string `json:"derivation,omitempty"` // salted (default) or deterministic
	// AlgorithmPolicy tells what requests may name instead of the context's own algorithm.
	AlgorithmPolicy *AlgorithmPolicy `json:"algorithm_policy,omitempty"`
	// Layers say what the data is. What the request says otherwise counts more than what they resolve to.
	Layers       *Layers `json:"layers,omitempty"`
	RotationDays *int    `json:"rotation_days,omitempty"` // 0 means never; nil as the layers ask, else never
	RotateAfter  uint32  `json:"rotate_after,omitempty"`  // messages; 0 means never
	SelfService  bool    `json:"self_service,omitempty"`  // developers may grant it to their applications
	Consistency  string  `json:"consistency,omitempty"`   // lease (default) or strict
}

// AlgorithmPolicy is what a context allows besides its own algorithm.
type AlgorithmPolicy struct {
	Enforcement        string   `json:"enforcement"` // none, warn or enforce
	AllowedAlgorithms  []string `json:"allowed_algorithms"`
	MinimumBits        int      `json:"minimum_bits"`
	RequireQuantumSafe bool     `json:"require_quantum_safe"`
	// AllowedCiphers (AES, ChaCha20) and AllowedModes (gcm, gcm-siv, ccm, cbc, ctr, poly1305), if not empty, limit what is
	// allowed; without AllowedAlgorithms they are the list.
	AllowedCiphers []string `json:"allowed_ciphers,omitempty"`
	AllowedModes   []string `json:"allowed_modes,omitempty"`
}

// Context describes one context and the version that protects in it.
type Context struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Algorithm   string `json:"algorithm"`
	Format      int    `json:"format"`
	Derivation  string `json:"derivation"`
	Status      string `json:"status"`
	KeyID       string `json:"key_id"`
	Version     uint32 `json:"version"`
	CreatedAt   string `json:"created_at"` // RFC 3339, UTC

	AlgorithmPolicy AlgorithmPolicy `json:"algorithm_policy"`

	Layers         *Layers  `json:"layers,omitempty"`
	RotationDays   int      `json:"rotation_days"`
	RotateAfter    uint64   `json:"rotate_after"`
	SelfService    bool     `json:"self_service"`
	Consistency    string   `json:"consistency"`              // lease or strict
	MinimumVersion uint32   `json:"minimum_version,omitzero"` // older ones process nothing any more
	Revision       uint32   `json:"revision"`
	Warnings       []string `json:"warnings,omitempty"`
}

// ContextsResponse lists the contexts that the subject may use, in order of name.
type ContextsResponse struct {
	Contexts []Context `json:"contexts"`
}

// RotateResponse names the version that protects from now on.
type RotateResponse struct {
	Context  string `json:"context"`
	KeyID    string `json:"key_id"`
	Version  uint32 `json:"version"`
	Previous string `json:"previous_key_id"`
}

// RefreshRequest shows a refresh token.
type RefreshRequest struct {
	RefreshToken string `json:"refresh_token"`
}

// RefreshResponse carries a new access token and the refresh token that replaces the one shown.
type RefreshResponse struct {
	AccessToken      string `json:"access_token"`
	TokenType        string `json:"token_type"` // "bearer"
	ExpiresAt        string `json:"expires_at"` // of the access token, RFC 3339
	RefreshToken     string `json:"refresh_token"`
	RefreshExpiresAt string `json:"refresh_expires_at"`
}

// State is the answer of /health/state: what the node is, why, and what to do about it.
type State struct {
	State   string   `json:"state"` // operational, degraded, failed
	Reasons []Reason `json:"reasons"`
	Version string   `json:"version"`
	Node    string   `json:"node"`
	Cluster string   `json:"cluster"`
}

// Reason says why a node is not simply operational, and the next step for its operator.
type Reason struct {
	Code     string `json:"code"`
	Detail   string `json:"detail"`
	NextStep string `json:"next_step"`
}

// Health is the answer of /health/live and /health/ready.
type Health struct {
	Status string `json:"status"`           // ok or unavailable
	Reason string `json:"reason,omitempty"` // why it is unavailable
}

// Problem is an error as RFC 9457 application/problem+json.
type Problem struct {
	Type      string         `json:"type"`
	Title     string         `json:"title"`
	Status    int            `json:"status"`
	Detail    string         `json:"detail,omitempty"`
	Instance  string         `json:"instance,omitempty"`
	Code      string         `json:"code"`
	RequestID string         `json:"request_id"`
	State     string         `json:"state"`
	Retryable bool           `json:"retryable"`
	Errors    []ProblemField `json:"errors,omitempty"`
}

// ProblemField names one bad field of a request.
type ProblemField struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}
