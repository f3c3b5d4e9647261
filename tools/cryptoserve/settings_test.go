package main

const (
	cannedSettings = `{"address_rate":{"per_second":0,"burst":0},"subject_rate":{"per_second":20,"burst":40},"context_rate":{"per_second":0,"burst":0},` +
		`"decrypt_budget":{"records":100,"seconds":3600},"approvals":[{"act":"key.destroy","approvers":2}],"destroy_wait_days":0,"revision":3}`
	cannedApproval = `{"id":"approval_1","act":"settings.change","resource":"tenant_1","state":"pending","required":2,` +
		`"decisions":[{"user":"user_2","at":"2031-01-01T00:00:00Z","approve":true,"reason":"fine"}],"requester":"user_1","reason":"why",` +
		`"created_at":"2031-01-01T00:00:00Z","expires_at":"2031-01-08T00:00:00Z"}`
)

func init() {
	cannedOf = append(cannedOf, map[string]string{
		"GET /api/v1/settings":                      cannedSettings,
		"PUT /api/v1/settings":                      cannedSettings,
		"GET /api/v1/approvals":                     `{"approvals":[` + cannedApproval + `]}`,
		"GET /api/v1/approvals/approval_1":          cannedApproval,
		"POST /api/v1/approvals/approval_1/approve": cannedApproval,
		"POST /api/v1/approvals/approval_1/reject":  cannedApproval,
		"POST /api/v1/approvals/approval_1/cancel":  cannedApproval,
	})
}
