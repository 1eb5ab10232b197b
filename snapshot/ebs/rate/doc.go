// Package rate keeps the calls that change something in EC2 below what EC2 allows an
// account in a Region, for all that this process does at once.
// In: a Region, a call's name and how many. Out: when they may be made.
// It holds no call back that was paid for in advance: under a freeze nobody waits.
package rate
