// Package repo keeps the files of CouchDB nodes in a bucket: incremental, sealed, and in
// a form that a crash at any point leaves readable.
// In: frames and trees. Out: objects under v1/files/REPOSITORY/ of a catalog, which are
// written once and never changed, and the frames again. It knows nothing of files, nodes
// or Kubernetes, and decides nothing of when.
//
// A repository is one instance's. Its key, an age identity and the key of the chunks'
// IDs, lies in the bucket sealed to the recipients of whoever owns the data, and with
// whoever writes. A pack is some chunks, each compressed and sealed by itself. A tree
// tells of every file the chunks and their places, so that no index has to be kept: what
// is needed is what the trees name.
//
// Sealing keeps others from reading. That they cannot write what is taken for ours is
// shown otherwise: trees, trailers and doomed lists are signed, under their own keys,
// with what is made of the repository's identity; and the trees name chunks by IDs that
// are keyed hashes of their content. Who can write to the bucket can destroy, and is
// found out.
//
// Writing and collecting go on beside each other without a lock. A session
//  1. puts an intent,
//  2. reads the doomed lists,
//  3. reads which packs there are, the trees before it and the trailers of packs that
//     they do not name, and from then on uses no chunk that is in a doomed pack,
//  4. puts packs,
//  5. puts trees, once all packs are confirmed that they name, and
//  6. drops its intent.
//
// A collection
//  1. reads which packs there are, then all trees,
//  2. puts a doomed list of the packs that no tree names,
//  3. lists the intents, and notes whose they are beside the list, and,
//  4. as soon as all of those have ended, it or a later one reads all trees once more and
//     deletes what is doomed and still not named. A pack that is named stays doomed.
//  5. It deletes the list when all its packs have gone.
//
// A session that began before 3. is waited for. One that begins after it sees the list as
// long as one of its packs is there. So none names a pack that is deleted.
package repo
