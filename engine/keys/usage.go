package keys

// Usage is how much a key version was used, as far as the nodes have told: each tells of its own use now and then, so the
// counts lag behind by a minute or so, and what a node that died had not told is lost. In a command it holds what to add.
type Usage struct {
	Key         string `cbor:"1,keyasint"`
	Tenant      string `cbor:"2,keyasint"`
	Protected   uint64 `cbor:"3,keyasint,omitempty"` // operations
	Processed   uint64 `cbor:"4,keyasint,omitempty"`
	LastProtect int64  `cbor:"5,keyasint,omitempty"` // Unix milliseconds; 0 is never
	LastProcess int64  `cbor:"6,keyasint,omitempty"`
}

// Add returns the sum of two usages of one version.
func (u Usage) Add(more Usage) Usage {
	u.Protected += more.Protected
	u.Processed += more.Processed
	u.LastProtect = max(u.LastProtect, more.LastProtect)
	u.LastProcess = max(u.LastProcess, more.LastProcess)
	return u
}
