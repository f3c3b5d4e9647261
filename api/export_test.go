package api

import "cryptoserve/engine/policy"

// RouteInfo is what the tests outside the package compare with the document.
type RouteInfo struct {
	Method, Path string
	Action       policy.Action
	Anonymous    bool
	BodyBytes    int64
}

// RouteTable returns the route table with default limits.
func RouteTable() []RouteInfo {
	var list []RouteInfo
	for _, r := range routes(DefaultLimits()) {
		list = append(list, RouteInfo{r.method, r.path, r.action, r.access == anybody, r.bodyBytes})
	}
	return list
}
