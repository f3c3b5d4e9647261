package engine

import (
	"slices"
	"strings"
	"sync"

	"github.com/maypok86/otter/v2"

	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
	"cryptoserve/engine/rules"
)

// The bounds of what is kept of policies: compiled rules by their text, and policies of all tenants together.
const (
	maxCompiledRules = 10_000
	maxBookPolicies  = 20_000
)

// standing is a policy that is in force, with its rule.
type standing struct {
	*directory.Policy

	rule *rules.Rule
	// broken says why the text is no rule on this node, which a newer version may have accepted.
	broken error
}

// dynamic reports whether the rule's answer depends on the single call.
func (s *standing) dynamic() bool { return s.rule != nil && s.rule.Dynamic() }

// judge reports whether an operation meets the policy. An error means that there is no answer, which counts as no.
func (s *standing) judge(in *rules.Input) (bool, error) {
	if s.broken != nil {
		return false, s.broken
	}
	return s.rule.Eval(in)
}

// says is what a caller reads of a policy that is not met.
func (s *standing) says() string {
	if s.Message == "" {
		return "policy " + s.Name
	}
	return "policy " + s.Name + ": " + s.Message
}

// strictness orders enforcements from the one that lets everything pass.
func strictness(e directory.Enforcement) int {
	switch e {
	case directory.EnforceNone:
		return 0
	case directory.EnforceWarn:
		return 1
	default:
		return 2
	}
}

// rulebook holds a tenant's policies that are in force, the strictest first. It is as new as its epoch at least.
type rulebook struct {
	mu      sync.Mutex
	epoch   uint64
	filled  bool
	records []*directory.Policy // as they were read, also those that are disabled
	inForce []*standing
}

// rulebooks keeps the rulebooks of tenants, and compiled rules by their text, so that a rule is compiled once however often
// other records change.
type rulebooks struct {
	books *otter.Cache[string, *rulebook]
	rules *otter.Cache[string, *standing] // only rule and broken
}

func newRulebooks() (*rulebooks, error) {
	books, err := otter.New(&otter.Options[string, *rulebook]{
		MaximumWeight:    maxBookPolicies,
		Weigher:          func(_ string, b *rulebook) uint32 { return uint32(len(b.inForce)) + 1 }, //nolint:gosec // a thousand
		ExpiryCalculator: otter.ExpiryAccessing[string, *rulebook](defaultCacheIdle),
	})
	if err != nil {
		return nil, err
	}
	compiled, err := otter.New(&otter.Options[string, *standing]{
		MaximumSize:      maxCompiledRules,
		ExpiryCalculator: otter.ExpiryAccessing[string, *standing](defaultCacheIdle),
	})
	if err != nil {
		return nil, err
	}
	return &rulebooks{books: books, rules: compiled}, nil
}

// of returns the policies in force of a tenant, at least as new as the epoch, which must have been read before the tenant's
// view.
func (b *rulebooks) of(id string, tenant TenantView, epoch uint64) []*standing {
	book, ok := b.books.GetIfPresent(id)
	if !ok {
		book, _ = b.books.SetIfAbsent(id, &rulebook{})
	}
	book.mu.Lock()
	defer book.mu.Unlock()
	if book.filled && book.epoch == epoch {
		return book.inForce
	}
	records := tenant.Policies()
	if !book.filled || !slices.Equal(records, book.records) {
		book.inForce = b.compile(records)
		book.records, book.filled = records, true
		b.books.Set(id, book) // weighs it anew
	}
	book.epoch = epoch
	return book.inForce
}

func (b *rulebooks) compile(records []*directory.Policy) []*standing {
	var inForce []*standing
	for _, p := range records {
		if p.Status == directory.Enabled {
			inForce = append(inForce, b.standing(p))
		}
	}
	slices.SortStableFunc(inForce, func(x, y *standing) int { return strictness(y.Enforcement) - strictness(x.Enforcement) })
	return inForce
}

// standing compiles the rule of a policy, unless that was done before.
func (b *rulebooks) standing(p *directory.Policy) *standing {
	found, ok := b.rules.GetIfPresent(p.Expression)
	if !ok {
		found = &standing{}
		found.rule, found.broken = rules.Compile(p.Expression)
		b.rules.Set(p.Expression, found)
	}
	return &standing{Policy: p, rule: found.rule, broken: found.broken}
}

// The words for classes of use, as rules and scopes of policies write them.
const (
	classProtect = "protect"
	classProcess = "process"
)

func className(c keys.Class) string {
	if c == keys.Process {
		return classProcess
	}
	return classProtect
}

// operationName is what a rule reads of an action: its last word.
func operationName(a policy.Action) string {
	return string(a)[strings.LastIndexByte(string(a), '.')+1:]
}

const causePolicy fault.Cause = "policy"

// refusedBy is the answer to an operation that does not meet an enforced policy.
func refusedBy(s *standing) error {
	return fault.Wrap(fault.Forbidden, "engine.policy", s.says(), causePolicy)
}
