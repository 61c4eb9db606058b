/** Bounds of memory and time, checked before either is taken: some 400 bytes and 10 us a site. */
export const LIMITS = {
  fileBytes: 2 ** 27,
  chunks: 1024,
  modelled: 4096, // chunks with a table of models
  pixels: 2 ** 28,
  side: 2 ** 23,
  sites: 2 ** 21,
};
