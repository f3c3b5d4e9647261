package engine

import (
	"slices"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

// suite is the algorithm that an encryption takes, and what the caller is told about the choice.
type suite struct {
	row      algs.Row
	warnings []string
}

// The usages: what a caller may say the data is for (the original's usage contexts).
const (
	usageAtRest    = "at_rest"
	usageInTransit = "in_transit"
	usageInUse     = "in_use"
	usageStreaming = "streaming"
)

// Usages are what a caller may say the data is for.
var Usages = []string{usageAtRest, usageInTransit, usageInUse, usageStreaming}

// usageSuites is what a usage asks for instead of the context's own algorithm: data in use is encrypted many times under
// one key by programs that cannot count, which a misuse-resistant mode forgives.
var usageSuites = map[string]algs.Name{
	usageInTransit: algs.AES256GCM,
	usageInUse:     algs.AES256GCMSIV,
	usageStreaming: algs.AES256GCM,
}

// ownSuite is the context's own algorithm as the FIPS mode lets it protect.
func (e *Engine) ownSuite(c *directory.Context) (suite, error) {
	row, ok := algs.Of(c.Algorithm, algs.ClassAEAD, algs.ClassHybrid)
	if !ok {
		return suite{}, fault.New(fault.AlgorithmDisallowed, "engine.suite", "the context's algorithm is not known to this node")
	}
	if err := e.gate(row, algs.Protect); err != nil {
		return suite{}, err
	}
	if instead := e.fips.Choose(row.Name); instead != row.Name && swaps(c) {
		other, _ := algs.Lookup(instead)
		return suite{other, []string{string(row.Name) + " is not a FIPS-approved algorithm; " + string(instead) + " was used"}}, nil
	}
	return suite{row, e.warnings(row)}, nil
}

// swaps reports whether a context can encrypt with another algorithm than its own: in format 4 each message's key is bound
// to its algorithm, in format 3 and under an encapsulated key it is not.
func swaps(c *directory.Context) bool {
	row, _ := algs.Lookup(c.Algorithm)
	return c.Format == 4 && row.Class == algs.ClassAEAD
}

// suite chooses the algorithm of an encryption: the one that the request names, if the context's policy and the FIPS mode
// allow it; else what the usage asks for, if they allow it; else the context's own.
func (e *Engine) suite(p *plan, algorithm, usage string) (suite, error) {
	if algorithm != "" {
		return e.namedSuite(p, algorithm)
	}
	if usage == "" || usage == usageAtRest {
		return p.own, p.ownErr
	}
	if !slices.Contains(Usages, usage) {
		return suite{}, &fault.Error{
			Kind: fault.Malformed, Op: "engine.suite", Detail: "the usage is not known",
			Fields: []fault.Field{{Name: "usage", Detail: "one of at_rest, in_transit, in_use, streaming"}},
		}
	}
	if p.ownErr != nil || !swaps(p.context) {
		return p.own, p.ownErr
	}
	row, _ := algs.Lookup(e.fips.Choose(usageSuites[usage]))
	if row.Name == p.own.row.Name {
		return p.own, nil
	}
	warning, allowed := policy.Algorithm(p.context, row)
	if !allowed || !e.fips.Allows(row, algs.Protect) {
		return suite{p.own.row, append(slices.Clone(p.own.warnings),
			"the context does not allow "+string(row.Name)+" for usage "+usage+"; "+string(p.own.row.Name)+" was used")}, nil
	}
	return suite{row, notes(warning, e.fips.Warning(row))}, nil
}

func (e *Engine) namedSuite(p *plan, name string) (suite, error) {
	row, err := e.lookup(name, algs.ClassAEAD, algs.ClassHybrid)
	switch {
	case err != nil:
		return suite{}, err
	case row.Name == p.context.Algorithm:
		return suite{row, e.warnings(row)}, nil
	case row.Class == algs.ClassHybrid:
		return suite{}, disallowed("a key pair is made for one algorithm: use a context of " + name)
	case !swaps(p.context):
		return suite{}, disallowed("the context encrypts with its own algorithm only, " + string(p.context.Algorithm))
	}
	warning, allowed := policy.Algorithm(p.context, row)
	if !allowed {
		return suite{}, disallowed("the context's policy does not allow the algorithm")
	}
	return suite{row, notes(warning, e.fips.Warning(row))}, nil
}

func disallowed(detail string) error {
	return fault.New(fault.AlgorithmDisallowed, "engine.suite", detail)
}

// notes returns the texts that say something.
func notes(texts ...string) []string {
	return slices.DeleteFunc(texts, func(s string) bool { return s == "" })
}

// fits refuses a message that is longer than its algorithm takes.
func fits(row algs.Row, plaintext uint64) error {
	if row.MaxPlaintext != 0 && plaintext > row.MaxPlaintext {
		return fault.New(fault.TooLarge, "engine.suite", "the message is longer than "+string(row.Name)+" takes")
	}
	return nil
}
