package directory

import (
	"fmt"
	"regexp"
	"slices"
)

// Policy is a rule in CEL that operations of a tenant must meet (package rules). Its name is unique in the tenant.
type Policy struct {
	Tenant      string `cbor:"1,keyasint"`
	Name        string `cbor:"2,keyasint"`
	Description string `cbor:"3,keyasint,omitempty"`
	Expression  string `cbor:"4,keyasint"` // true lets the operation pass
	// Message is what the caller reads when the rule is not met; empty means that its name is enough.
	Message string `cbor:"5,keyasint,omitempty"`
	// Enforcement tells what becomes of an operation that does not meet the rule: refused, allowed with a warning, or
	// allowed and only seen in the audit log.
	Enforcement Enforcement `cbor:"6,keyasint,omitempty"`
	// Contexts and Operations limit the rule to some; empty means all. Operations are actions such as crypto.encrypt, or
	// protect and process for all of that class.
	Contexts   []string `cbor:"7,keyasint,omitempty"`
	Operations []string `cbor:"8,keyasint,omitempty"`
	Status     Status   `cbor:"9,keyasint"`
	CreatedAt  int64    `cbor:"10,keyasint"`
	UpdatedAt  int64    `cbor:"11,keyasint"`
}

// The bounds of a policy.
const (
	ExpressionMax  = 4 << 10
	MessageMax     = 256
	policyScopeMax = 64
)

var policyName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,63}$`)

// Validate reports the first thing that makes the record impossible. Whether the expression is a rule, it does not tell.
func (p *Policy) Validate() error {
	switch {
	case p.Tenant == "":
		return fmt.Errorf("policy %q names no tenant", p.Name)
	case !policyName.MatchString(p.Name):
		return fmt.Errorf("policy name %q is not a lower-case letter followed by letters, digits and hyphens, 64 at most", p.Name)
	case p.Expression == "" || len(p.Expression) > ExpressionMax:
		return fmt.Errorf("policy %s has no expression, or one of more than %d bytes", p.Name, ExpressionMax)
	case len(p.Message) > MessageMax || len(p.Description) > DescriptionMax:
		return fmt.Errorf("policy %s has a message or description of more than %d bytes", p.Name, MessageMax)
	case p.Enforcement > EnforceWarn:
		return fmt.Errorf("policy %s has an unknown enforcement", p.Name)
	case len(p.Contexts) > policyScopeMax || len(p.Operations) > policyScopeMax:
		return fmt.Errorf("policy %s names more than %d contexts or operations", p.Name, policyScopeMax)
	case p.Status != Enabled && p.Status != Disabled:
		return fmt.Errorf("policy %s has an unknown status", p.Name)
	}
	for _, name := range p.Contexts {
		if !ValidContextName(name) {
			return fmt.Errorf("policy %s names a context that cannot be", p.Name)
		}
	}
	return nil
}

// Concerns reports whether the policy is about an operation of a class (protect or process) in a context.
func (p *Policy) Concerns(context, action, class string) bool {
	return p.Status == Enabled && (len(p.Contexts) == 0 || slices.Contains(p.Contexts, context)) &&
		(len(p.Operations) == 0 || slices.Contains(p.Operations, action) || slices.Contains(p.Operations, class))
}
