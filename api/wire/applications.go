package wire

// Application is a program.
type Application struct {
	ID          string  `json:"id"`
	Name        string  `json:"name"`
	Team        string  `json:"team"`
	Environment string  `json:"environment"`
	Description string  `json:"description"`
	Status      string  `json:"status"`
	Grants      []Grant `json:"grants"`
	// KeyID is the kid of its access tokens and PublicKey the raw Ed25519 key that verifies them, if there are any. KeptHere
	// tells that the private half is on the appliance, which issues them.
	KeyID     string `json:"key_id"`
	PublicKey []byte `json:"public_key,omitempty"`
	KeptHere  bool   `json:"kept_here"`
	// CertificateKey is the SHA-256 of the SubjectPublicKeyInfo of its client certificate, in hex.
	CertificateKey string `json:"certificate_key_sha256,omitempty"`
	CreatedBy      string `json:"created_by"` // id of a user; empty for the appliance
	CreatedAt      string `json:"created_at"`
	// TokensRevokedAt is the time up to which access tokens are refused; empty when they never were.
	TokensRevokedAt string `json:"tokens_revoked_at,omitempty"`
}

// Grant lets an application use one context.
type Grant struct {
	Context     string       `json:"context"`
	Encrypt     bool         `json:"encrypt,omitempty"`
	Decrypt     bool         `json:"decrypt,omitempty"`
	Compromised bool         `json:"compromised,omitempty"` // decrypt with key versions that are marked as compromised
	Budget      *GrantBudget `json:"budget,omitempty"`      // nil: that of the tenant's settings
}

// GrantBudget bounds what an application decrypts in a context in any window of so many seconds. 0 is no bound.
type GrantBudget struct {
	Records uint64 `json:"records,omitempty"`
	Bytes   uint64 `json:"bytes,omitempty"`
	Seconds uint32 `json:"seconds"`
}

// ApplicationsResponse lists the applications of the tenant in order of id.
type ApplicationsResponse struct {
	Applications []Application `json:"applications"`
}

// ApplicationKey is what an application authenticates with that keeps its key itself.
type ApplicationKey struct {
	PublicKey         string `json:"public_key,omitempty"`         // Ed25519: PEM, or base64 of its 32 bytes
	ClientCertificate string `json:"client_certificate,omitempty"` // PEM; its public key is what counts
}

// CreateApplicationRequest asks for a new application. Only the name is required.
type CreateApplicationRequest struct {
	Name        string  `json:"name"`
	Team        string  `json:"team,omitempty"`
	Environment string  `json:"environment,omitempty"`
	Description string  `json:"description,omitempty"`
	Grants      []Grant `json:"grants,omitempty"`
	ApplicationKey
}

// ChangeApplicationRequest replaces what is said about an application and what it may do. With PreviousGrants, which are what
// the caller has seen, the request is refused when the grants are others by now.
type ChangeApplicationRequest struct {
	Team           string   `json:"team"`
	Description    string   `json:"description"`
	Grants         []Grant  `json:"grants"`
	PreviousGrants *[]Grant `json:"previous_grants,omitempty"`
}

// IssuedApplication is an application with its tokens, which are shown here and never again. There are none when it keeps its
// key itself, or is disabled.
type IssuedApplication struct {
	Application Application `json:"application"`
	IssuedTokens
}

// IssuedTokens are a first access token and refresh token.
type IssuedTokens struct {
	AccessToken      string `json:"access_token,omitempty"`
	TokenType        string `json:"token_type,omitempty"` // "bearer"
	ExpiresAt        string `json:"expires_at,omitempty"` // of the access token
	RefreshToken     string `json:"refresh_token,omitempty"`
	RefreshExpiresAt string `json:"refresh_expires_at,omitempty"`
}

// TokensResponse tells of an application's tokens what is not secret.
type TokensResponse struct {
	Algorithm       string         `json:"algorithm"` // of access tokens; empty when the application has none
	KeyID           string         `json:"key_id"`
	KeptHere        bool           `json:"kept_here"`
	AccessSeconds   int            `json:"access_seconds"`  // the longest life of an access token
	RefreshSeconds  int            `json:"refresh_seconds"` // of a refresh token that is not used
	RefreshFamilies []TokensFamily `json:"refresh_families"`
	TokensRevokedAt string         `json:"tokens_revoked_at,omitempty"`
}

// TokensFamily is a chain of refresh tokens that came from one first token.
type TokensFamily struct {
	CreatedAt string `json:"created_at"`
	ExpiresAt string `json:"expires_at"`
	Refreshed int    `json:"refreshed"` // how often
}

// RegisterRequest asks for the application that a program is: specification section 13.4. Only the name is required.
type RegisterRequest struct {
	AppName     string   `json:"app_name"`
	Team        string   `json:"team,omitempty"`
	Environment string   `json:"environment,omitempty"`
	Contexts    []string `json:"contexts,omitempty"`
	Description string   `json:"description,omitempty"`
}

// RegisterResponse is an application and its tokens. Contexts are those that it may use.
type RegisterResponse struct {
	AppID        string   `json:"app_id"`
	AppName      string   `json:"app_name"`
	Environment  string   `json:"environment"`
	AccessToken  string   `json:"access_token"`
	RefreshToken string   `json:"refresh_token"`
	Contexts     []string `json:"contexts"`
	IsNew        bool     `json:"is_new"`
	Message      string   `json:"message"`
}

// TokenVerifyRequest asks whether an access token is good.
type TokenVerifyRequest struct {
	AccessToken string `json:"access_token"`
}

// TokenVerifyResponse tells whose a good access token is. Of any other it tells nothing.
type TokenVerifyResponse struct {
	Valid       bool     `json:"valid"`
	AppID       string   `json:"app_id,omitempty"`
	AppName     string   `json:"app_name,omitempty"`
	Team        string   `json:"team,omitempty"`
	Environment string   `json:"environment,omitempty"`
	Contexts    []string `json:"contexts,omitempty"`
	ExpiresAt   string   `json:"expires_at,omitempty"`
}

// TokenRevokeRequest shows a refresh token or a session token.
type TokenRevokeRequest struct {
	Token string `json:"token"`
}
