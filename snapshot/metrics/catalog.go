package metrics

var reachable = gauge("cht_backup_catalog_reachable", "1 if the catalog outside the cluster answered when it was last asked, else 0. None where there is no catalog, or it was not asked yet.")

// CatalogAnswered notes whether the catalog's bucket could be reached.
func CatalogAnswered(yes bool) {
	value := 0.0
	if yes {
		value = 1
	}
	reachable.WithLabelValues().Set(value)
}
