// Loaded into Prism before its own code, so that it passes redirects on instead of following them: the redirect to a file
// leads to the storage, which is not behind the proxy.

const nodeFetch = require(require.resolve('node-fetch', { paths: [process.env.PRISM_HTTP] }))
const follow = nodeFetch.default
nodeFetch.default = (url, options) => follow(url, { ...options, redirect: 'manual' })
