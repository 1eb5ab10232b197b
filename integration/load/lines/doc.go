// Command lines judges and draws the table that the load test writes. In: the table. Out:
// for each of its lines the slope over the last half, or since the leader last changed, with its 95% interval, and three
// pictures. It fails when a line rises: when its slope is certainly more than 0, and what
// it comes to within a week is more than a hundredth of what there is.
//
// A module of its own: what draws stays out of the product's.
package main
