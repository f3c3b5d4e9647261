package classify

import (
	"fmt"
	"strings"

	"cryptoserve/engine/algs"
)

// summary says the outcome and its inputs in one sentence.
func summary(l *Layers, d *Derived) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s with new keys every %d days and %s audit protects %s data (%s) %s",
		d.Algorithm, d.KeyRotationDays, d.AuditLevel, l.DataIdentity.Sensitivity, plain(l.DataIdentity.Category), plain(l.usage()))
	if days := l.ThreatModel.ProtectionLifetimeDays; days > 0 {
		b.WriteString(", for " + spell(days))
	}
	for i, a := range l.ThreatModel.Adversaries {
		switch {
		case i == 0:
			b.WriteString(", against ")
		case i == len(l.ThreatModel.Adversaries)-1:
			b.WriteString(" and ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(people(a))
	}
	if d.QuantumResistant {
		b.WriteString("; it is quantum-resistant")
	}
	return b.String() + "."
}

// Why an algorithm was not taken, where the reason is the same whatever was.
const (
	notAskedQuantum = "nothing here asks for quantum resistance, and each message would be 1120 bytes longer"
	notAskedSIV     = "it reads each message twice to forgive a repeated nonce, which only the usage in_use has to fear"
	notApprovedFast = "not FIPS-approved, and slower where the processor has AES instructions"
)

// alternatives returns the three nearest algorithms and why they were not chosen.
func alternatives(l *Layers, d *Derived) []Alternative {
	switch d.Algorithm {
	case algs.AES128GCM:
		return []Alternative{
			{algs.AES256GCM, fmt.Sprintf("%d bits are enough; take it where the sensitivity may rise", d.MinimumSecurityBits)},
			{algs.AES256GCMSIV, notAskedSIV},
			{algs.X25519MLKEM768AES256GCM, notAskedQuantum},
		}
	case algs.AES256GCMSIV:
		return []Alternative{
			{algs.AES256GCM, "a nonce used twice under one key would give away its authentication key"},
			{algs.AES256CCM, "as sensitive to nonces as GCM, and takes 64 KiB at most"},
			{algs.X25519MLKEM768AES256GCM, notAskedQuantum},
		}
	case algs.X25519MLKEM768AES256GCM:
		return []Alternative{
			{algs.AES256GCM, "holds against quantum computers, but the key that protects also opens; here a public key protects"},
			{algs.AES256GCMMLKEM1024, "256 bits, but one break of ML-KEM opens everything; here X25519 would have to break too"},
			{algs.P256MLKEM768AES256GCM, "of equal strength; it takes the place of this one in FIPS mode"},
		}
	default:
		return []Alternative{smaller(l, d), hybrid(l, d), {algs.ChaCha20Poly1305, notApprovedFast}}
	}
}

// smaller says why AES-256-GCM is not AES-128-GCM.
func smaller(l *Layers, d *Derived) Alternative {
	why := fmt.Sprintf("128 bits, where at least %d are asked for", d.MinimumSecurityBits)
	switch {
	case d.MinimumSecurityBits > 128:
	case l.usage() == Streaming:
		why = "streams are encrypted with 256 bits"
	default:
		why = "enough for the sensitivity, but what travels may be recorded and kept"
	}
	return Alternative{algs.AES128GCM, why}
}

// hybrid says why AES-256-GCM is not the hybrid.
func hybrid(l *Layers, d *Derived) Alternative {
	why := notAskedQuantum
	if d.QuantumResistant && l.usage() == Streaming {
		why = "streams need a context whose key is derived; take it in a second context for what is not streamed"
	}
	return Alternative{algs.X25519MLKEM768AES256GCM, why}
}

// people names an adversary in a sentence.
func people(a Adversary) string {
	switch a {
	case OpportunisticAttacker:
		return "opportunistic attackers"
	case NationState:
		return "nation states"
	case InsiderThreat:
		return "insiders"
	case QuantumComputer:
		return "quantum computers"
	default:
		return plain(a)
	}
}

// plain turns a word of the model into words for people.
func plain[E ~string](word E) string { return strings.ReplaceAll(string(word), "_", " ") }

// spell gives days in words, in years where they are whole years.
func spell(days uint32) string {
	n, unit := days, "day"
	if days > 0 && days%DaysPerYear == 0 {
		n, unit = days/DaysPerYear, "year"
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", n, unit)
}
