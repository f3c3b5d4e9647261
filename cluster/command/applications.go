package command

import "cryptoserve/engine/directory"

// ChangeApplication replaces what an application may do and what is said about it. Grants must have been what Before says,
// else somebody changed them in between and it is a conflict.
type ChangeApplication struct {
	Tenant      string            `cbor:"1,keyasint"`
	Application string            `cbor:"2,keyasint"`
	Team        string            `cbor:"3,keyasint,omitempty"`
	Description string            `cbor:"4,keyasint,omitempty"`
	Grants      []directory.Grant `cbor:"5,keyasint,omitempty"`
	Before      []directory.Grant `cbor:"6,keyasint,omitempty"`
}

// SetApplicationStatus enables or disables an application.
type SetApplicationStatus struct {
	Tenant      string           `cbor:"1,keyasint"`
	Application string           `cbor:"2,keyasint"`
	Status      directory.Status `cbor:"3,keyasint"`
}

// SetApplicationKey replaces the key and the certificate of an application, so that all its access tokens end, and revokes
// its families of refresh tokens. KeyID must be new.
type SetApplicationKey struct {
	Tenant      string `cbor:"1,keyasint"`
	Application string `cbor:"2,keyasint"`
	KeyID       string `cbor:"3,keyasint"`
	PublicKey   []byte `cbor:"4,keyasint"`
	SealedKey   []byte `cbor:"5,keyasint,omitempty"`
	Certificate []byte `cbor:"6,keyasint,omitempty"`
}

// RevokeApplicationTokens ends the access tokens of an application that were issued up to the second of NotBefore, and its
// families of refresh tokens. The key stays.
type RevokeApplicationTokens struct {
	Tenant      string `cbor:"1,keyasint"`
	Application string `cbor:"2,keyasint"`
	NotBefore   int64  `cbor:"3,keyasint"`
}

// DeleteApplication deletes an application and its families of refresh tokens.
type DeleteApplication struct {
	Tenant      string `cbor:"1,keyasint"`
	Application string `cbor:"2,keyasint"`
}

// RevokeRefresh ends a family of refresh tokens. One that is unknown is not an error.
type RevokeRefresh struct {
	Tenant string `cbor:"1,keyasint"`
	Family string `cbor:"2,keyasint"`
}

// Type returns the command's number.
func (ChangeApplication) Type() Type { return TypeChangeApplication }

// Type returns the command's number.
func (SetApplicationStatus) Type() Type { return TypeSetApplicationStatus }

// Type returns the command's number.
func (SetApplicationKey) Type() Type { return TypeSetApplicationKey }

// Type returns the command's number.
func (RevokeApplicationTokens) Type() Type { return TypeRevokeApplicationTokens }

// Type returns the command's number.
func (DeleteApplication) Type() Type { return TypeDeleteApplication }

// Type returns the command's number.
func (RevokeRefresh) Type() Type { return TypeRevokeRefresh }
