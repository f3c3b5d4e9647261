package classify

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"cryptoserve/engine/fault"
)

// The bounds of layers: items of a list, bytes of a text, days.
const (
	ListMax    = 32
	TextMax    = 64
	ExampleMax = 128
	DaysMax    = 100 * DaysPerYear
)

// DaysPerYear is how lifetimes in years become days, rounded down: 10 years are 3650 days, 0.01 years are 3.
const DaysPerYear = 365

// Validate reports the first thing that is wrong as fault.Malformed, with the dotted path of its field such as
// regulatory.retention.maximum_days. Texts are UTF-8 that can be printed; lists hold nothing twice.
func (l *Layers) Validate() error {
	var c checker
	d := &l.DataIdentity
	oneOf(&c, "data_identity.category", d.Category, categories, true)
	c.text("data_identity.subcategory", d.Subcategory, TextMax)
	oneOf(&c, "data_identity.sensitivity", d.Sensitivity, sensitivities, true)
	oneOf(&c, "data_identity.usage_context", d.UsageContext, usages, false)
	c.texts("data_identity.examples", d.Examples, ExampleMax)

	r := &l.Regulatory
	c.texts("regulatory.frameworks", r.Frameworks, TextMax)
	c.texts("regulatory.data_residency.allowed_regions", r.DataResidency.AllowedRegions, TextMax)
	c.texts("regulatory.data_residency.prohibited_regions", r.DataResidency.ProhibitedRegions, TextMax)
	for i, region := range r.DataResidency.ProhibitedRegions {
		if slices.Contains(r.DataResidency.AllowedRegions, region) {
			c.refuse(item("regulatory.data_residency.prohibited_regions", i), "this region is also allowed")
		}
	}
	c.days("regulatory.retention.minimum_days", r.Retention.MinimumDays)
	c.days("regulatory.retention.maximum_days", r.Retention.MaximumDays)
	if r.Retention.MaximumDays != 0 && r.Retention.MaximumDays < r.Retention.MinimumDays {
		c.refuse("regulatory.retention.maximum_days", "less than the minimum")
	}
	oneOf(&c, "regulatory.retention.deletion_method", r.Retention.DeletionMethod, deletions, false)

	m := &l.ThreatModel
	list(&c, "threat_model.adversaries", m.Adversaries, func(path string, a Adversary) {
		oneOf(&c, path, a, adversaries, true)
	})
	c.texts("threat_model.attack_vectors", m.AttackVectors, TextMax)
	c.days("threat_model.protection_lifetime_days", m.ProtectionLifetimeDays)

	oneOf(&c, "access_patterns.frequency", l.AccessPatterns.Frequency, frequencies, false)
	if c.first != nil {
		return c.first
	}
	return nil
}

// checker keeps the first refusal.
type checker struct{ first *fault.Error }

func (c *checker) refuse(path, detail string) {
	if c.first == nil {
		c.first = &fault.Error{
			Kind: fault.Malformed, Op: "classify.validate", Detail: "the layers of the context are not valid",
			Fields: []fault.Field{{Name: path, Detail: detail}},
		}
	}
}

// text checks a text that may be empty.
func (c *checker) text(path, s string, most int) {
	switch {
	case len(s) > most:
		c.refuse(path, fmt.Sprintf("more than %d bytes", most))
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		c.refuse(path, "a character that cannot be printed")
	}
}

func (c *checker) texts(path string, items []string, most int) {
	list(c, path, items, func(path, s string) {
		if s == "" {
			c.refuse(path, "empty")
		}
		c.text(path, s, most)
	})
}

func (c *checker) days(path string, n uint32) {
	if n > DaysMax {
		c.refuse(path, fmt.Sprintf("more than %d years", DaysMax/DaysPerYear))
	}
}

func list[T comparable](c *checker, path string, items []T, check func(path string, t T)) {
	if len(items) > ListMax {
		c.refuse(path, fmt.Sprintf("more than %d items", ListMax))
		return
	}
	for i, t := range items {
		check(item(path, i), t)
		if slices.Contains(items[:i], t) {
			c.refuse(item(path, i), "in the list twice")
		}
	}
}

func oneOf[E ~string](c *checker, path string, word E, known []E, required bool) {
	if word == "" && !required || slices.Contains(known, word) {
		return
	}
	words := make([]string, len(known))
	for i, k := range known {
		words[i] = string(k)
	}
	c.refuse(path, "none of "+strings.Join(words, ", "))
}

func item(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
