package classify

import "slices"

// Category is the kind of data.
type Category string

// The categories.
const (
	PersonalIdentifier   Category = "personal_identifier"
	Financial            Category = "financial"
	Health               Category = "health"
	Authentication       Category = "authentication"
	BusinessConfidential Category = "business_confidential"
	GeneralData          Category = "general"
)

// Sensitivity is the harm that disclosure does.
type Sensitivity string

// The sensitivities, from the greatest harm.
const (
	SensitivityCritical Sensitivity = "critical"
	SensitivityHigh     Sensitivity = "high"
	SensitivityMedium   Sensitivity = "medium"
	SensitivityLow      Sensitivity = "low"
)

// Usage is where the data is when it needs protection. Empty means AtRest.
type Usage string

// The usages.
const (
	AtRest    Usage = "at_rest"
	InTransit Usage = "in_transit"
	InUse     Usage = "in_use"
	Streaming Usage = "streaming"
)

// Deletion is how data is deleted at the end of its retention. Empty means DeletionStandard.
type Deletion string

// The deletion methods.
const (
	DeletionCryptoShred Deletion = "crypto_shred" // the keys are destroyed
	DeletionSecure      Deletion = "secure_delete"
	DeletionStandard    Deletion = "standard"
)

// Adversary is who may come for the data.
type Adversary string

// The adversaries.
const (
	OpportunisticAttacker Adversary = "opportunistic_attacker"
	OrganizedCrime        Adversary = "organized_crime"
	NationState           Adversary = "nation_state"
	InsiderThreat         Adversary = "insider_threat"
	QuantumComputer       Adversary = "quantum_computer"
)

// Frequency is how often the data is used. Empty means not stated.
type Frequency string

// The frequencies.
const (
	FrequencyHigh   Frequency = "high"
	FrequencyMedium Frequency = "medium"
	FrequencyLow    Frequency = "low"
	FrequencyRare   Frequency = "rare"
)

var (
	categories = []Category{
		PersonalIdentifier, Financial, Health, Authentication, BusinessConfidential, GeneralData,
	}
	sensitivities = []Sensitivity{SensitivityCritical, SensitivityHigh, SensitivityMedium, SensitivityLow}
	usages        = []Usage{AtRest, InTransit, InUse, Streaming}
	deletions     = []Deletion{DeletionCryptoShred, DeletionSecure, DeletionStandard}
	adversaries   = []Adversary{OpportunisticAttacker, OrganizedCrime, NationState, InsiderThreat, QuantumComputer}
	frequencies   = []Frequency{FrequencyHigh, FrequencyMedium, FrequencyLow, FrequencyRare}
)

// Categories returns all categories.
func Categories() []Category { return slices.Clone(categories) }

// Sensitivities returns all sensitivities, from the greatest harm.
func Sensitivities() []Sensitivity { return slices.Clone(sensitivities) }

// Usages returns all usages.
func Usages() []Usage { return slices.Clone(usages) }

// Deletions returns all deletion methods.
func Deletions() []Deletion { return slices.Clone(deletions) }

// Adversaries returns all adversaries.
func Adversaries() []Adversary { return slices.Clone(adversaries) }

// Frequencies returns all frequencies.
func Frequencies() []Frequency { return slices.Clone(frequencies) }

// Layers is what people say about a context's data. It is stored in replicated state: names of fields in storage are
// numbers, never change or reuse one; there are no floating-point numbers, which encoders round differently. Layers are
// replaced, never changed in place, so goroutines share them freely.
type Layers struct {
	DataIdentity   DataIdentity   `cbor:"1,keyasint,omitempty"`
	Regulatory     Regulatory     `cbor:"2,keyasint,omitempty"`
	ThreatModel    ThreatModel    `cbor:"3,keyasint,omitempty"`
	AccessPatterns AccessPatterns `cbor:"4,keyasint,omitempty"`
}

// DataIdentity tells what the data is. Category and Sensitivity must be stated.
type DataIdentity struct {
	Category             Category    `cbor:"1,keyasint,omitempty"`
	Subcategory          string      `cbor:"2,keyasint,omitempty"`
	Sensitivity          Sensitivity `cbor:"3,keyasint,omitempty"`
	UsageContext         Usage       `cbor:"4,keyasint,omitempty"`
	PII                  bool        `cbor:"5,keyasint,omitempty"` // identifies a person
	PHI                  bool        `cbor:"6,keyasint,omitempty"` // health data of a person
	PCI                  bool        `cbor:"7,keyasint,omitempty"` // card data
	NotificationRequired bool        `cbor:"8,keyasint,omitempty"` // a breach must be told to those concerned
	Examples             []string    `cbor:"9,keyasint,omitempty"` // kinds of fields, no data
}

// Regulatory tells what the law and contracts ask.
type Regulatory struct {
	Frameworks         []string  `cbor:"1,keyasint,omitempty"` // names such as PCI-DSS
	DataResidency      Residency `cbor:"2,keyasint,omitempty"`
	Retention          Retention `cbor:"3,keyasint,omitempty"`
	CrossBorderAllowed bool      `cbor:"4,keyasint,omitempty"`
}

// Residency tells where the data may be. No allowed region means any that is not prohibited.
type Residency struct {
	AllowedRegions    []string `cbor:"1,keyasint,omitempty"`
	ProhibitedRegions []string `cbor:"2,keyasint,omitempty"`
}

// Retention tells how long the data is kept. A number of 0 means no limit.
type Retention struct {
	MinimumDays    uint32   `cbor:"1,keyasint,omitempty"`
	MaximumDays    uint32   `cbor:"2,keyasint,omitempty"`
	DeletionMethod Deletion `cbor:"3,keyasint,omitempty"`
}

// ThreatModel tells against whom, how and how long the data is protected.
type ThreatModel struct {
	Adversaries   []Adversary `cbor:"1,keyasint,omitempty"`
	AttackVectors []string    `cbor:"2,keyasint,omitempty"`
	// ProtectionLifetimeDays is how long the data must stay secret; 0 means not stated.
	ProtectionLifetimeDays uint32 `cbor:"3,keyasint,omitempty"`
}

// AccessPatterns tells how the data is used. A number of 0 means not stated.
type AccessPatterns struct {
	Frequency            Frequency `cbor:"1,keyasint,omitempty"`
	OperationsPerSecond  uint32    `cbor:"2,keyasint,omitempty"`
	LatencyRequirementMS uint32    `cbor:"3,keyasint,omitempty"`
	BatchOperations      bool      `cbor:"4,keyasint,omitempty"`
	SearchRequired       bool      `cbor:"5,keyasint,omitempty"`
}

func (l *Layers) usage() Usage {
	if l.DataIdentity.UsageContext == "" {
		return AtRest
	}
	return l.DataIdentity.UsageContext
}

func (l *Layers) fears(a Adversary) bool { return slices.Contains(l.ThreatModel.Adversaries, a) }
