// Package bounded refuses JSON that would take far more memory than it has bytes.
// In: JSON that somebody else wrote, as text or as a stream. Out: the same, or an error
// before the decoder has made anything large of it. Whether it is JSON at all is the
// decoder's to say.
package bounded
