package classify

// Default is a context that a new tenant begins with.
type Default struct {
	Name        string
	Description string
	Tags        []string
	Layers      Layers
}

// DefaultName is the context of data that names none.
const DefaultName = "default"

// Defaults returns the contexts that a new tenant begins with, anew in each call. They state no region and no retention,
// which depend on where the tenant works.
func Defaults() []Default {
	return []Default{
		{
			Name: DefaultName, Description: "Data that nobody has classified. It counts as high until somebody does.",
			Layers: Layers{
				DataIdentity: DataIdentity{Category: GeneralData, Sensitivity: SensitivityHigh, UsageContext: AtRest},
				ThreatModel:  threat(5, OpportunisticAttacker),
			},
		},
		{
			Name: "user-pii", Description: "Data that identifies a person.", Tags: []string{"GDPR", "CCPA"},
			Layers: Layers{
				DataIdentity: DataIdentity{
					Category: PersonalIdentifier, Sensitivity: SensitivityCritical, UsageContext: AtRest,
					PII: true, NotificationRequired: true,
					Examples: []string{"name", "e-mail address", "postal address", "telephone number", "national identity number"},
				},
				Regulatory:     Regulatory{Frameworks: []string{"GDPR", "CCPA"}, Retention: Retention{DeletionMethod: DeletionCryptoShred}},
				ThreatModel:    threat(20, OrganizedCrime, NationState),
				AccessPatterns: AccessPatterns{Frequency: FrequencyHigh, LatencyRequirementMS: 50},
			},
		},
		{
			Name: "payment-data", Description: "Card and account data.", Tags: []string{"PCI-DSS"},
			Layers: Layers{
				DataIdentity: DataIdentity{
					Category: Financial, Subcategory: "payment", Sensitivity: SensitivityCritical, UsageContext: AtRest,
					PCI: true, NotificationRequired: true,
					Examples: []string{"card number", "card expiry", "bank account number"},
				},
				Regulatory:     Regulatory{Frameworks: []string{"PCI-DSS"}},
				ThreatModel:    threat(7, OrganizedCrime, InsiderThreat),
				AccessPatterns: AccessPatterns{Frequency: FrequencyHigh, LatencyRequirementMS: 10},
			},
		},
		{
			Name: "session-tokens", Description: "Tokens of sessions that live for days.", Tags: []string{"OWASP"},
			Layers: Layers{
				DataIdentity: DataIdentity{
					Category: Authentication, Subcategory: "session", Sensitivity: SensitivityMedium, UsageContext: AtRest,
					Examples: []string{"session identifier", "refresh token"},
				},
				Regulatory:     Regulatory{Frameworks: []string{"OWASP"}},
				ThreatModel:    ThreatModel{Adversaries: []Adversary{OpportunisticAttacker}, ProtectionLifetimeDays: 3},
				AccessPatterns: AccessPatterns{Frequency: FrequencyHigh, LatencyRequirementMS: 5},
			},
		},
		{
			Name: "health-records", Description: "Health data of persons.", Tags: []string{"HIPAA"},
			Layers: Layers{
				DataIdentity: DataIdentity{
					Category: Health, Sensitivity: SensitivityCritical, UsageContext: AtRest,
					PII: true, PHI: true, NotificationRequired: true,
					Examples: []string{"diagnosis", "prescription", "laboratory result", "patient number"},
				},
				Regulatory:     Regulatory{Frameworks: []string{"HIPAA"}, Retention: Retention{DeletionMethod: DeletionCryptoShred}},
				ThreatModel:    threat(25, OrganizedCrime, NationState),
				AccessPatterns: AccessPatterns{Frequency: FrequencyMedium, LatencyRequirementMS: 100},
			},
		},
		{
			Name: "general", Description: "General business data.",
			Layers: Layers{
				DataIdentity:   DataIdentity{Category: GeneralData, Sensitivity: SensitivityMedium, UsageContext: AtRest},
				ThreatModel:    threat(5, OpportunisticAttacker),
				AccessPatterns: AccessPatterns{Frequency: FrequencyMedium},
			},
		},
		{
			Name: "internal-logs", Description: "Logs of programs and systems.", Tags: []string{"SOC2"},
			Layers: Layers{
				DataIdentity: DataIdentity{
					Category: GeneralData, Subcategory: "logs", Sensitivity: SensitivityMedium, UsageContext: AtRest,
					Examples: []string{"application log", "access log"},
				},
				Regulatory:     Regulatory{Frameworks: []string{"SOC2"}},
				ThreatModel:    threat(2, InsiderThreat, OpportunisticAttacker),
				AccessPatterns: AccessPatterns{Frequency: FrequencyHigh, LatencyRequirementMS: 5, BatchOperations: true},
			},
		},
		{
			Name: "api-secrets", Description: "Secrets that programs authenticate with.", Tags: []string{"SOC2", "OWASP"},
			Layers: Layers{
				DataIdentity: DataIdentity{
					Category: Authentication, Subcategory: "secrets", Sensitivity: SensitivityCritical, UsageContext: AtRest,
					Examples: []string{"API key", "database password", "OAuth client secret"},
				},
				Regulatory:     Regulatory{Frameworks: []string{"SOC2", "OWASP"}},
				ThreatModel:    threat(1, NationState, OrganizedCrime, InsiderThreat),
				AccessPatterns: AccessPatterns{Frequency: FrequencyLow, LatencyRequirementMS: 100},
			},
		},
		{
			Name: "business-documents", Description: "Contracts, plans and other confidential documents.", Tags: []string{"SOX", "SOC2"},
			Layers: Layers{
				DataIdentity: DataIdentity{
					Category: BusinessConfidential, Subcategory: "documents", Sensitivity: SensitivityHigh, UsageContext: AtRest,
					Examples: []string{"contract", "business plan", "financial report"},
				},
				Regulatory:     Regulatory{Frameworks: []string{"SOX", "SOC2"}},
				ThreatModel:    threat(10, OrganizedCrime, InsiderThreat, NationState),
				AccessPatterns: AccessPatterns{Frequency: FrequencyLow, LatencyRequirementMS: 200},
			},
		},
		{
			Name: "backup-data", Description: "Backups, with whatever they hold.", Tags: []string{"GDPR", "HIPAA", "PCI-DSS", "SOC2"},
			Layers: Layers{
				DataIdentity: DataIdentity{
					Category: BusinessConfidential, Subcategory: "backup", Sensitivity: SensitivityHigh, UsageContext: AtRest,
					Examples: []string{"database dump", "file archive"},
				},
				Regulatory:     Regulatory{Frameworks: []string{"GDPR", "HIPAA", "PCI-DSS", "SOC2"}},
				ThreatModel:    threat(10, NationState, OrganizedCrime),
				AccessPatterns: AccessPatterns{Frequency: FrequencyRare, LatencyRequirementMS: 1000, BatchOperations: true},
			},
		},
		{
			Name: "quantum-ready", Description: "Data that must stay secret when quantum computers come.", Tags: []string{"SOX", "NIST"},
			Layers: Layers{
				DataIdentity: DataIdentity{
					Category: BusinessConfidential, Subcategory: "long-term", Sensitivity: SensitivityCritical, UsageContext: AtRest,
					Examples: []string{"trade secret", "research", "strategic plan"},
				},
				Regulatory:     Regulatory{Frameworks: []string{"SOX", "NIST"}},
				ThreatModel:    threat(30, NationState, QuantumComputer),
				AccessPatterns: AccessPatterns{Frequency: FrequencyLow, LatencyRequirementMS: 500},
			},
		},
	}
}

func threat(years uint32, adversaries ...Adversary) ThreatModel {
	return ThreatModel{Adversaries: adversaries, ProtectionLifetimeDays: years * DaysPerYear}
}
