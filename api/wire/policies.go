package wire

// Layers are what people say of a context's data; what protects it follows from them.
type Layers struct {
	DataIdentity   DataIdentity   `json:"data_identity,omitzero"`
	Regulatory     Regulatory     `json:"regulatory,omitzero"`
	ThreatModel    ThreatModel    `json:"threat_model,omitzero"`
	AccessPatterns AccessPatterns `json:"access_patterns,omitzero"`
}

// DataIdentity says what the data is.
type DataIdentity struct {
	Category             string   `json:"category"`
	Subcategory          string   `json:"subcategory,omitempty"`
	Sensitivity          string   `json:"sensitivity"` // critical, high, medium or low
	UsageContext         string   `json:"usage_context,omitempty"`
	PII                  bool     `json:"pii,omitzero"`
	PHI                  bool     `json:"phi,omitzero"`
	PCI                  bool     `json:"pci,omitzero"`
	NotificationRequired bool     `json:"notification_required,omitzero"`
	Examples             []string `json:"examples,omitempty"`
}

// Regulatory says what the law and contracts ask.
type Regulatory struct {
	Frameworks         []string      `json:"frameworks,omitempty"`
	DataResidency      DataResidency `json:"data_residency,omitzero"`
	Retention          Retention     `json:"retention,omitzero"`
	CrossBorderAllowed bool          `json:"cross_border_allowed,omitzero"`
}

// DataResidency says where the data may be.
type DataResidency struct {
	AllowedRegions    []string `json:"allowed_regions,omitempty"`
	ProhibitedRegions []string `json:"prohibited_regions,omitempty"`
}

// Retention says how long the data is kept; 0 means no limit.
type Retention struct {
	MinimumDays    uint32 `json:"minimum_days,omitzero"`
	MaximumDays    uint32 `json:"maximum_days,omitzero"`
	DeletionMethod string `json:"deletion_method,omitempty"`
}

// ThreatModel says against whom and how long the data is protected.
type ThreatModel struct {
	Adversaries            []string `json:"adversaries,omitempty"`
	AttackVectors          []string `json:"attack_vectors,omitempty"`
	ProtectionLifetimeDays uint32   `json:"protection_lifetime_days,omitzero"` // a year has 365
}

// AccessPatterns says how the data is used.
type AccessPatterns struct {
	Frequency            string `json:"frequency,omitempty"`
	OperationsPerSecond  uint32 `json:"operations_per_second,omitzero"`
	LatencyRequirementMS uint32 `json:"latency_requirement_ms,omitzero"`
	BatchOperations      bool   `json:"batch_operations,omitzero"`
	SearchRequired       bool   `json:"search_required,omitzero"`
}

// Derived is what follows from layers, and why.
type Derived struct {
	MinimumSecurityBits  int           `json:"minimum_security_bits"`
	QuantumResistant     bool          `json:"quantum_resistant"`
	RotationDays         uint32        `json:"rotation_days"`
	Algorithm            string        `json:"algorithm"`
	AuditLevel           string        `json:"audit_level"`
	HardwareAcceleration bool          `json:"hardware_acceleration"`
	Suite                DerivedSuite  `json:"suite"`
	Rationale            []string      `json:"rationale"`
	Detail               DerivedDetail `json:"detail"`
}

// DerivedSuite names algorithms for the key objects of a context.
type DerivedSuite struct {
	Signing string `json:"signing"`
	Hash    string `json:"hash"`
	KDF     string `json:"kdf"`
	MAC     string `json:"mac"`
}

// DerivedDetail explains a resolution.
type DerivedDetail struct {
	Summary      string               `json:"summary"`
	Factors      []DerivedFactor      `json:"factors"`
	Alternatives []DerivedAlternative `json:"alternatives"`
}

// DerivedFactor is one input and what it led to.
type DerivedFactor struct {
	Field       string `json:"field,omitempty"` // of the layers
	Input       string `json:"input"`
	Consequence string `json:"consequence"`
}

// DerivedAlternative is an algorithm that was not chosen.
type DerivedAlternative struct {
	Algorithm string `json:"algorithm"`
	WhyNot    string `json:"why_not"`
}

// ContextDetail is all of a context.
type ContextDetail struct {
	Context

	Derived  *Derived         `json:"derived,omitempty"` // of its layers
	Versions []ContextVersion `json:"versions"`          // newest first
	Grants   *int             `json:"grants,omitzero"`   // how many applications may use it; not told to applications
}

// ContextVersion is one version of a context's key.
type ContextVersion struct {
	KeyID     string `json:"key_id"`
	Version   uint32 `json:"version"`
	State     string `json:"state"`
	Algorithm string `json:"algorithm"`
	CreatedAt string `json:"created_at"`
}

// ChangeContextRequest replaces what a context is. Algorithm and format stay when they are left out; everything else that is
// left out is emptied.
type ChangeContextRequest struct {
	Revision        uint32           `json:"revision"` // of the context that the change is based on
	Description     string           `json:"description,omitempty"`
	Algorithm       string           `json:"algorithm,omitempty"`
	Format          int              `json:"format,omitzero"`
	AlgorithmPolicy *AlgorithmPolicy `json:"algorithm_policy,omitempty"`
	Layers          *Layers          `json:"layers,omitempty"`
	RotationDays    *int             `json:"rotation_days,omitzero"`
	RotateAfter     uint32           `json:"rotate_after,omitzero"`
	SelfService     bool             `json:"self_service,omitzero"`
	Consistency     string           `json:"consistency,omitzero"`
}

// ExplainRequest asks what layers resolve to.
type ExplainRequest struct {
	Layers Layers `json:"layers"`
}

// ExplainResponse tells it. Algorithm is what a context gets on this node: its FIPS mode may choose another than the layers.
type ExplainResponse struct {
	Algorithm string  `json:"algorithm"`
	Derived   Derived `json:"derived"`
}

// PolicySpec is what a policy is to be.
type PolicySpec struct {
	Description string `json:"description,omitempty"`
	Expression  string `json:"expression"`        // CEL; true lets the operation pass
	Message     string `json:"message,omitempty"` // what a caller reads when it is not met
	Enforcement string `json:"enforcement"`       // none, warn or enforce
	// Contexts and Operations limit the policy to some; empty means all.
	Contexts   []string `json:"contexts,omitempty"`
	Operations []string `json:"operations,omitempty"` // such as crypto.encrypt, or protect or process
	Enabled    *bool    `json:"enabled,omitzero"`     // true when left out
}

// CreatePolicyRequest makes a policy.
type CreatePolicyRequest struct {
	Name string `json:"name"`

	PolicySpec
}

// Policy describes one policy.
type Policy struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Expression  string   `json:"expression"`
	Message     string   `json:"message"`
	Enforcement string   `json:"enforcement"`
	Contexts    []string `json:"contexts"`
	Operations  []string `json:"operations"`
	Enabled     bool     `json:"enabled"`
	CreatedAt   string   `json:"created_at,omitempty"` // absent from the defaults, which nobody has created
	UpdatedAt   string   `json:"updated_at,omitempty"`
	Warnings    []string `json:"warnings,omitempty"` // of the change that was made
}

// PoliciesResponse lists policies, in order of name.
type PoliciesResponse struct {
	Policies []Policy `json:"policies"`
}

// PolicyTestRequest asks what would become of an operation.
type PolicyTestRequest struct {
	Context     string `json:"context"`
	Operation   string `json:"operation"`             // such as crypto.encrypt
	Application string `json:"application,omitempty"` // id; without it grants do not count
	Algorithm   string `json:"algorithm,omitempty"`   // instead of the context's own
	Expression  string `json:"expression,omitempty"`  // a rule to try that is not saved
	Bytes       int    `json:"bytes,omitzero"`
}

// PolicyTestResponse tells it.
type PolicyTestResponse struct {
	Allowed   bool             `json:"allowed"`
	Reason    string           `json:"reason,omitempty"` // what refuses it before any policy is asked
	Decisions []PolicyDecision `json:"decisions"`
	Algorithm string           `json:"algorithm"`
	Warnings  []string         `json:"warnings"`
}

// PolicyDecision is what one policy says.
type PolicyDecision struct {
	Policy      string `json:"policy"`
	Enforcement string `json:"enforcement"`
	Met         bool   `json:"met"`
	Error       string `json:"error,omitempty"` // why its rule has no answer
	Message     string `json:"message,omitempty"`
}
