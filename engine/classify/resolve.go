package classify

import (
	"fmt"
	"strings"
	"unicode"

	"cryptoserve/engine/algs"
)

// AuditLevel is how much the audit of a context should tell.
type AuditLevel string

// The audit levels, from the most.
const (
	AuditFull     AuditLevel = "full"
	AuditDetailed AuditLevel = "detailed"
	AuditStandard AuditLevel = "standard"
	AuditMinimal  AuditLevel = "minimal"
)

// Derived is the fifth layer: what follows from the other four.
type Derived struct {
	MinimumSecurityBits  uint16 // of the cipher's key: compare with KeyBits, not SecurityBits, of package algs
	QuantumResistant     bool
	KeyRotationDays      uint32
	Algorithm            algs.Name // of the context; algs.Mode.Choose gives what a FIPS mode takes in its place
	AuditLevel           AuditLevel
	HardwareAcceleration bool     // preferred
	Suite                Suite    // advice for key objects of the context
	Rationale            []string // one sentence for each of Detail.Factors
	Detail               Detail
}

// Suite names algorithms for the other keys of a context.
type Suite struct {
	Signing, Hash, KDF, MAC algs.Name
}

// Detail explains a resolution.
type Detail struct {
	Summary      string
	Factors      []Factor
	Alternatives []Alternative // three
}

// Factor is one input and what it led to. Field is the dotted path of the input, empty where several inputs or an earlier
// consequence are the input.
type Factor struct {
	Field, Input, Consequence string
}

// String returns the factor as a sentence.
func (f Factor) String() string { return f.Input + ": " + f.Consequence + "." }

// Alternative is an algorithm that was not chosen.
type Alternative struct {
	Algorithm algs.Name
	WhyNot    string
}

// What the rules compare with.
const (
	longDays         = 10 * DaysPerYear // a quantum computer may come within more than this
	longAgainstState = 5 * DaysPerYear  // a nation state records today what it opens within more than this
	frameworkDays    = 90               // rotation under PCI-DSS and HIPAA
	lowLatencyMS     = 10
	manyPerSecond    = 1000
)

// grade is what sensitivity alone decides.
type grade struct {
	bits            uint16
	rotation        uint32
	audit           AuditLevel
	signing, safely algs.Name // safely is against quantum computers
}

// gradeOf takes a sensitivity that it does not know for critical.
func gradeOf(s Sensitivity) grade {
	switch s {
	case SensitivityHigh:
		return grade{bits: 256, rotation: 90, audit: AuditDetailed, signing: algs.ECDSAP256, safely: algs.MLDSA65}
	case SensitivityMedium:
		return grade{bits: 128, rotation: 180, audit: AuditStandard, signing: algs.ECDSAP256, safely: algs.MLDSA44}
	case SensitivityLow:
		return grade{bits: 128, rotation: 365, audit: AuditMinimal, signing: algs.ECDSAP256, safely: algs.MLDSA44}
	default:
		return grade{bits: 256, rotation: 30, audit: AuditFull, signing: algs.ECDSAP384, safely: algs.MLDSA87}
	}
}

// Resolve derives what protects the data of a context. The layers must be valid; it never fails.
func Resolve(l *Layers) Derived {
	r := resolver{l: l, grade: gradeOf(l.DataIdentity.Sensitivity)}
	r.sensitivity()
	r.threats()
	r.frameworks()
	r.algorithm()
	r.suite()
	r.access()
	r.handling()
	for _, f := range r.out.Detail.Factors {
		r.out.Rationale = append(r.out.Rationale, f.String())
	}
	r.out.Detail.Summary = summary(l, &r.out)
	r.out.Detail.Alternatives = alternatives(l, &r.out)
	return r.out
}

// resolver fills out in, and gives a factor for each thing it reads.
type resolver struct {
	l     *Layers
	grade grade
	out   Derived
}

func (r *resolver) because(field, input, format string, args ...any) {
	r.out.Detail.Factors = append(r.out.Detail.Factors, Factor{Field: field, Input: input, Consequence: fmt.Sprintf(format, args...)})
}

func (r *resolver) sensitivity() {
	g := r.grade
	r.out.MinimumSecurityBits, r.out.KeyRotationDays, r.out.AuditLevel = g.bits, g.rotation, g.audit
	r.because("data_identity.sensitivity", "Sensitivity "+string(r.l.DataIdentity.Sensitivity),
		"at least %d bits, new keys every %d days, audit level %s", g.bits, g.rotation, g.audit)
}

// threats decides about quantum resistance and raises the bits.
func (r *resolver) threats() {
	const adversaries, lifetime = "threat_model.adversaries", "threat_model.protection_lifetime_days"
	state, quantum, days := r.l.fears(NationState), r.l.fears(QuantumComputer), r.l.ThreatModel.ProtectionLifetimeDays
	if state {
		r.because(adversaries, "Adversary "+string(NationState), "%s 256 bits", r.raise())
	}
	if quantum {
		r.because(adversaries, "Adversary "+string(QuantumComputer), "quantum resistance")
	}
	if others := r.otherAdversaries(); len(others) > 0 {
		r.because(adversaries, counted("Adversary", "Adversaries", others), "no more than the sensitivity asks for")
	}
	span := "Protection lifetime " + spell(days)
	switch {
	case days > longDays:
		r.out.QuantumResistant = true
		r.because(lifetime, span, "more than 10 years, within which a quantum computer may come, so quantum resistance")
	case state && days > longAgainstState:
		r.out.QuantumResistant = true
		r.because(lifetime, span, "more than 5 years against a nation state, which records today what it opens later, "+
			"so quantum resistance")
	case days == 0:
		r.because(lifetime, "Protection lifetime not stated", "no quantum resistance on its account")
	case state:
		r.because(lifetime, span, "not more than 5 years, so no quantum resistance on its account, even against a nation state")
	default:
		r.because(lifetime, span, "not more than 10 years, so no quantum resistance on its account")
	}
	if quantum {
		r.out.QuantumResistant = true
	}
	if r.out.QuantumResistant {
		r.because("", "Quantum resistance", "%s 256 bits, of which a quantum search leaves enough", r.raise())
	}
}

// otherAdversaries returns those that the rules ask nothing more for.
func (r *resolver) otherAdversaries() []string {
	var others []string
	for _, a := range r.l.ThreatModel.Adversaries {
		if a != NationState && a != QuantumComputer {
			others = append(others, string(a))
		}
	}
	return others
}

// raise raises the bits to 256 and returns the verb that says whether this changed them.
func (r *resolver) raise() string {
	if r.out.MinimumSecurityBits >= 256 {
		return "also asks for"
	}
	r.out.MinimumSecurityBits = 256
	return "raises the minimum to"
}

// frameworks caps the rotation.
func (r *resolver) frameworks() {
	const field = "regulatory.frameworks"
	var capped, others []string
	for _, name := range r.l.Regulatory.Frameworks {
		if capsRotation(name) {
			capped = append(capped, name)
		} else {
			others = append(others, name)
		}
	}
	if len(capped) > 0 {
		r.limit(field, counted("Framework", "Frameworks", capped))
	}
	if len(others) > 0 {
		r.because(field, counted("Framework", "Frameworks", others), "no limit on rotation that this model knows")
	}
	if r.l.DataIdentity.PCI {
		r.limit("data_identity.pci", "Card data (pci)")
	}
	if r.l.DataIdentity.PHI {
		r.limit("data_identity.phi", "Health data of persons (phi)")
	}
}

func (r *resolver) limit(field, input string) {
	if r.out.KeyRotationDays <= frameworkDays {
		r.because(field, input, "new keys at least every %d days, which %d days already keep", frameworkDays, r.out.KeyRotationDays)
		return
	}
	r.because(field, input, "new keys at least every %d days, not every %d", frameworkDays, r.out.KeyRotationDays)
	r.out.KeyRotationDays = frameworkDays
}

// capsRotation knows PCI-DSS, also as PCI alone, and HIPAA, in any spelling and version.
func capsRotation(framework string) bool {
	plain := strings.Map(func(c rune) rune {
		if unicode.IsLetter(c) || unicode.IsDigit(c) {
			return unicode.ToUpper(c)
		}
		return -1
	}, framework)
	return strings.HasPrefix(plain, "PCI") || strings.HasPrefix(plain, "HIPAA")
}

// algorithm chooses the context's algorithm.
func (r *resolver) algorithm() {
	const field = "data_identity.usage_context"
	usage, bits := r.l.usage(), r.out.MinimumSecurityBits
	input := "Usage " + string(usage)
	switch {
	case r.out.QuantumResistant && usage == Streaming:
		r.out.Algorithm = algs.AES256GCM
		r.because(field, input+" with quantum resistance", "%s, since streams need a context that is not hybrid; 256 bits under a "+
			"derived key hold against quantum computers, but the key that protects also opens", r.out.Algorithm)
	case r.out.QuantumResistant:
		r.out.Algorithm = algs.X25519MLKEM768AES256GCM
		r.because(field, input+" with quantum resistance", "%s, which gives each message a key of its own, secret as "+
			"long as X25519 or ML-KEM-768 holds", r.out.Algorithm)
	case usage == InUse:
		r.out.Algorithm = algs.AES256GCMSIV
		r.because(field, input, "%s, with which a nonce used twice shows only whether two messages are equal", r.out.Algorithm)
	case usage == Streaming:
		r.out.Algorithm = algs.AES256GCM
		r.because(field, input, "%s, which streams are encrypted with", r.out.Algorithm)
	case usage == InTransit:
		r.out.Algorithm = algs.AES256GCM
		r.because(field, input, "%s, whatever the sensitivity, since others may record it", r.out.Algorithm)
	default:
		r.out.Algorithm = algs.AES128GCM
		if bits > 128 {
			r.out.Algorithm = algs.AES256GCM
		}
		r.because(field, fmt.Sprintf("%s with at least %d bits", input, bits), "%s", r.out.Algorithm)
	}
	row, _ := algs.Lookup(r.out.Algorithm)
	if row.SecurityBits < bits {
		r.because("", "Strength of "+string(row.Name), "%d bits in the cipher and %d in the key encapsulation (ML-KEM-768 is "+
			"NIST category 3)", row.KeyBits, row.SecurityBits)
	}
	if row.Approval != algs.Approved {
		r.because("", string(row.Name)+" is not FIPS-approved", "in FIPS mode %s takes its place", row.Instead)
	}
}

func (r *resolver) suite() {
	s := Suite{Signing: r.grade.signing, Hash: algs.SHA256, KDF: algs.HKDFSHA256, MAC: algs.HMACSHA256}
	if r.grade.audit == AuditFull {
		s.Hash, s.KDF, s.MAC = algs.SHA384, algs.HKDFSHA384, algs.HMACSHA384
	}
	input := "Sensitivity " + string(r.l.DataIdentity.Sensitivity)
	if r.out.QuantumResistant {
		s.Signing = r.grade.safely
		input += " with quantum resistance"
	}
	r.out.Suite = s
	row, _ := algs.Lookup(s.Signing)
	r.because("data_identity.sensitivity", input, "other keys of the context should be %s (%d bits), %s, %s and %s",
		s.Signing, row.SecurityBits, s.MAC, s.KDF, s.Hash)
}

func (r *resolver) access() {
	a := &r.l.AccessPatterns
	switch {
	case a.Frequency == FrequencyHigh:
		r.hardware("access_patterns.frequency", "Frequency high")
	case a.Frequency != "":
		r.because("access_patterns.frequency", "Frequency "+string(a.Frequency), "no hardware acceleration needed on its account")
	}
	switch ms := a.LatencyRequirementMS; {
	case ms >= lowLatencyMS:
		r.because("access_patterns.latency_requirement_ms", fmt.Sprintf("Latency of %d ms", ms),
			"not below %d ms, so no hardware acceleration needed on its account", lowLatencyMS)
	case ms > 0:
		r.hardware("access_patterns.latency_requirement_ms", fmt.Sprintf("Latency of %d ms", ms))
	}
	switch n := a.OperationsPerSecond; {
	case n > manyPerSecond:
		r.hardware("access_patterns.operations_per_second", fmt.Sprintf("%d operations a second", n))
	case n > 0:
		r.because("access_patterns.operations_per_second", fmt.Sprintf("%d operations a second", n),
			"not more than %d, so no hardware acceleration needed on its account", manyPerSecond)
	}
}

func (r *resolver) hardware(field, input string) {
	r.out.HardwareAcceleration = true
	r.because(field, input, "processors with AES instructions are preferred")
}

// handling says who has to act on what no algorithm can do.
func (r *resolver) handling() {
	g, a := &r.l.Regulatory, &r.l.AccessPatterns
	if a.SearchRequired {
		r.because("access_patterns.search_required", "Search required",
			"equal values encrypt differently, so an application that searches stores a MAC of the value beside it")
	}
	if len(g.DataResidency.AllowedRegions)+len(g.DataResidency.ProhibitedRegions) > 0 {
		r.because("regulatory.data_residency", "Data residency",
			"no algorithm keeps data in a region, so the operator places nodes and backups by it")
	}
	if g.Retention.DeletionMethod == DeletionCryptoShred {
		r.because("regulatory.retention.deletion_method", "Deletion method "+string(DeletionCryptoShred),
			"destroying the keys must destroy the data, so their derivation must be salted and not deterministic")
	}
	if d := r.l.ThreatModel.ProtectionLifetimeDays; d > 0 && g.Retention.MinimumDays > d {
		r.because("regulatory.retention.minimum_days", "Retention of at least "+spell(g.Retention.MinimumDays),
			"longer than the protection lifetime, which alone counted: raise it if the data stays secret as long as it is kept")
	}
}

func counted(one, many string, items []string) string {
	if len(items) > 1 {
		one = many
	}
	return one + " " + strings.Join(items, ", ")
}
