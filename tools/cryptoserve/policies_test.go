package main

const (
	cannedPolicy = `{"name":"strong","description":"d","expression":"algorithm.key_bits >= 256","message":"too weak","enforcement":"enforce",` +
		`"contexts":["invoices"],"operations":[],"enabled":true,"created_at":"2031-01-01T00:00:00Z","updated_at":"2031-01-01T00:00:00Z",` +
		`"warnings":["the policy is enforced less"]}`
	cannedDerived = `{"minimum_security_bits":256,"quantum_resistant":true,"rotation_days":30,"algorithm":"X25519MLKEM768+AES-256-GCM",` +
		`"audit_level":"full","hardware_acceleration":false,"suite":{"signing":"ML-DSA-87","hash":"SHA-384","kdf":"HKDF-SHA384",` +
		`"mac":"HMAC-SHA384"},"rationale":["Sensitivity critical: at least 256 bits."],"detail":{"summary":"s","factors":[],"alternatives":[]}}`
	cannedDetail = `{"name":"invoices","description":"what is owed","algorithm":"AES-256-GCM","format":4,"derivation":"salted",` +
		`"status":"active","key_id":"key_invoices_1","version":1,"created_at":"2031-01-01T00:00:00Z","algorithm_policy":{"enforcement":"warn",` +
		`"allowed_algorithms":["AES-128-GCM"],"minimum_bits":128,"require_quantum_safe":false,"allowed_ciphers":["AES"]},` +
		`"layers":{"data_identity":{"category":"health","sensitivity":"critical"}},"rotation_days":30,"rotate_after":5,"self_service":true,` +
		`"consistency":"strict","revision":7,"warnings":["it is weaker"],"versions":[{"key_id":"key_invoices_1","version":1,"state":"active",` +
		`"algorithm":"AES-256-GCM","created_at":"2031-01-01T00:00:00Z"}],"grants":2,"derived":` + cannedDerived + `}`
)

func init() {
	cannedOf = append(cannedOf, map[string]string{
		"GET /api/v1/contexts/invoices":          cannedDetail,
		"PUT /api/v1/contexts/invoices":          cannedDetail,
		"POST /api/v1/contexts/invoices/disable": cannedDetail,
		"POST /api/v1/contexts/invoices/enable":  cannedDetail,
		"DELETE /api/v1/contexts/invoices":       `{}`,
		"POST /api/v1/context-explanations":      `{"algorithm":"P256MLKEM768+AES-256-GCM","derived":` + cannedDerived + `}`,
		"GET /api/v1/policies":                   `{"policies":[` + cannedPolicy + `]}`,
		"GET /api/v1/policy-defaults":            `{"policies":[` + cannedPolicy + `]}`,
		"POST /api/v1/policies":                  cannedPolicy,
		"GET /api/v1/policies/strong":            cannedPolicy,
		"PUT /api/v1/policies/strong":            cannedPolicy,
		"DELETE /api/v1/policies/strong":         `{}`,
		"POST /api/v1/policies/test": `{"allowed":false,"reason":"the context is disabled","algorithm":"AES-256-GCM","warnings":["w"],` +
			`"decisions":[{"policy":"strong","enforcement":"enforce","met":false,"error":"division by zero","message":"policy strong: too weak"},` +
			`{"policy":"other","enforcement":"warn","met":true}]}`,
	})
}
