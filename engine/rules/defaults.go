package rules

// The enforcements of a rule, as the API writes them.
const (
	Enforce = "enforce" // a violation refuses the operation
	Warn    = "warn"    // a violation is told and recorded
	None    = "none"    // a violation is recorded
)

// Default is a rule that the appliance comes with.
type Default struct {
	Name        string
	Description string
	Message     string // what the caller of a violating operation is told
	Enforcement string
	Expression  string
}

// Defaults returns the rules that the appliance comes with, in the order in which they are shown. All of them decide on what
// is protected from now on: what has been protected stays readable, whatever the rules were then. Where a rule asks for bits of
// a key it means encryption of data, and the strength of every other algorithm is its security_bits.
func Defaults() []Default {
	return []Default{
		{
			Name:        "minimum-encryption-strength",
			Description: "Data of critical or high sensitivity is encrypted with keys of 256 bits, other data with at least 128.",
			Message:     "the key has fewer bits than the context's sensitivity asks for",
			Enforcement: Enforce,
			Expression: "operation_class != 'protect' || algorithm.cipher == '' || " +
				"algorithm.key_bits >= (context.sensitivity in ['critical', 'high'] ? 256 : 128)",
		},
		{
			Name:        "no-legacy-algorithms",
			Description: "Nothing new is protected with less than 128 bits of security, or in CBC or XTS mode.",
			Message:     "the algorithm is a legacy one",
			Enforcement: Enforce,
			Expression: "operation_class != 'protect' || " +
				"(algorithm.security_bits >= 128 && !(algorithm.mode in ['cbc', 'xts']))",
		},
		{
			Name:        "pii-requires-context",
			Description: "Personal data is protected in a context of its own, not in a general one.",
			Message:     "personal data needs a context of its own",
			Enforcement: Enforce,
			Expression:  "operation_class != 'protect' || !context.pii || !(context.name in ['', 'default', 'general'])",
		},
		{
			Name:        "quantum-readiness-warning",
			Description: "Data that has to be protected for more than ten years is protected against quantum computers.",
			Message:     "the data outlives the algorithm's resistance to quantum computers",
			Enforcement: Warn,
			Expression: "operation_class != 'protect' || context.protection_lifetime_years <= 10.0 || " +
				"algorithm.quantum_resistant",
		},
		{
			Name:        "high-frequency-hardware-acceleration",
			Description: "Contexts that are used often encrypt with what processors accelerate.",
			Message:     "the context is used often and its cipher is not accelerated",
			Enforcement: None,
			Expression: "operation_class != 'protect' || context.frequency != 'high' || algorithm.cipher == '' || " +
				"algorithm.hardware_acceleration",
		},
		{
			Name:        "hipaa-compliance",
			Description: "Health data is encrypted with keys of 256 bits and audited in detail.",
			Message:     "health data needs a key of 256 bits and a detailed audit",
			Enforcement: Enforce,
			Expression: "operation_class != 'protect' || !(context.phi || 'HIPAA' in context.frameworks) || " +
				"((algorithm.cipher == '' || algorithm.key_bits >= 256) && context.audit_level in ['full', 'detailed'])",
		},
		{
			Name:        "pci-dss-compliance",
			Description: "Card data is protected with strong cryptography, 128 bits of security or more, and audited in detail.",
			Message:     "card data needs 128 bits of security and a detailed audit",
			Enforcement: Enforce,
			Expression: "operation_class != 'protect' || !(context.pci || 'PCI-DSS' in context.frameworks) || " +
				"(algorithm.security_bits >= 128 && context.audit_level in ['full', 'detailed'])",
		},
	}
}
