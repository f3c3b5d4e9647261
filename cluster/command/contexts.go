package command

import (
	"cryptoserve/engine/directory"
	"cryptoserve/engine/keys"
)

// PutPolicy adds a policy (Create) or replaces one that exists. A tenant can have 1,000.
type PutPolicy struct {
	Policy directory.Policy `cbor:"1,keyasint"`
	Create bool             `cbor:"2,keyasint,omitempty"`
}

// DeletePolicy deletes a policy.
type DeletePolicy struct {
	Tenant string `cbor:"1,keyasint"`
	Name   string `cbor:"2,keyasint"`
}

// ChangeContext replaces a context's description, algorithm, algorithm policy, rotation, layers and who may grant it; all
// else stays. The revision must be one more than the present one, else somebody changed it in between and it is a conflict.
// A new algorithm or format needs a new Version, which becomes the active one as in RotateContext.
type ChangeContext struct {
	Context directory.Context `cbor:"1,keyasint"`
	Version *keys.Version     `cbor:"2,keyasint,omitempty"`
}

// SetContextStatus enables or disables a context.
type SetContextStatus struct {
	Tenant string           `cbor:"1,keyasint"`
	Name   string           `cbor:"2,keyasint"`
	Status directory.Status `cbor:"3,keyasint"`
}

// DeleteContext deletes a context that is empty: every version of its key destroyed, no key object in it, granted to nobody.
type DeleteContext struct {
	Tenant string `cbor:"1,keyasint"`
	Name   string `cbor:"2,keyasint"`
}

// Type returns the command's number.
func (PutPolicy) Type() Type { return TypePutPolicy }

// Type returns the command's number.
func (DeletePolicy) Type() Type { return TypeDeletePolicy }

// Type returns the command's number.
func (ChangeContext) Type() Type { return TypeChangeContext }

// Type returns the command's number.
func (SetContextStatus) Type() Type { return TypeSetContextStatus }

// Type returns the command's number.
func (DeleteContext) Type() Type { return TypeDeleteContext }
