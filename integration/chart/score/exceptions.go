package score

// Exceptions are the findings that are meant. One that covers nothing any more is an
// error too, so that this list stays true.
var Exceptions = []Exception{
	{Check: "container-image-pull-policy",
		Reason: "tags are versions; a CHT must start where its registry cannot be reached. image.pullPolicy changes it"},
	{Check: "container-ephemeral-storage-request-and-limit",
		Reason: "nothing is known of what the CHT's images write beside their volumes; a limit would evict CouchDB"},
	{Check: "container-resources", Summary: "CPU limit",
		Reason: "a limit throttles where the node is idle; requests share it fairly"},
	{Check: "container-resources", Summary: "Memory limit", Objects: []string{"cht-couchdb", "cht-haproxy", "cht-api", "cht-sentinel", "upgrade-service", "cht-nginx"},
		Reason: "how much a CHT takes depends on its users; a default that is too low kills CouchDB in the middle of a day. resources sets it"},
	{Check: "container-security-context-readonlyrootfilesystem", Objects: []string{"cht-couchdb", "cht-haproxy", "cht-api", "cht-sentinel", "upgrade-service"},
		Reason: "these images write into themselves when they start: vm.args, haproxy's configuration, the web application"},
	{Check: "container-security-context-user-group-id", Objects: []string{"cht-couchdb", "Deployment cht-haproxy", "cht-api", "cht-sentinel", "upgrade-service"},
		Reason: "these images start as root; CouchDB's gives the volume's files to its user and becomes that"},
	{Check: "container-security-context-user-group-id", Summary: "group ID", Objects: []string{"cht-backup"},
		Reason: "the controller's image has no group of its own"},
	{Check: "deployment-replicas",
		Reason: "one CouchDB node has one volume; API, Sentinel and HAProxy of the CHT run once"},
	{Check: "deployment-strategy",
		Reason: "two pods of one must never run at once, least of all two CouchDBs on one volume"},
	{Check: "networkpolicy-targets-pod", Objects: []string{"cht-backup-files"},
		Reason: "its pods are started by backups and restores, and live as long as these"},
	{Check: "pod-networkpolicy", Summary: "egress",
		Reason: "where a CHT sends messages is its own affair; a clone is closed in by the restore"},
	{Check: "pod-networkpolicy", Summary: "matching NetworkPolicy", Objects: []string{"Job ", "Pod "},
		Reason: "a hook serves nothing"},
	{Check: "pod-probes", Summary: "livenessProbe",
		Reason: "a probe of them would only ask CouchDB behind them, and kill them for its pause"},
}
