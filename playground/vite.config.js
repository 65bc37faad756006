// Builds the playground into dist/, as the server embeds it: index.html as it is, since the server writes the token
// into it, and everything else gzipped.
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { constants, gzipSync } from "node:zlib";
import { defineConfig } from "vite";

const dist = fileURLToPath(new URL("dist/", import.meta.url));

const gzip = {
  name: "trellis-gzip",
  closeBundle() {
    for (const name of readdirSync(`${dist}assets`)) {
      const file = `${dist}assets/${name}`;
      writeFileSync(`${file}.gz`, gzipSync(readFileSync(file), { level: constants.Z_BEST_COMPRESSION }));
      rmSync(file);
    }
  },
};

export default defineConfig({
  plugins: [gzip],
  resolve: {
    alias: [
      // GraphiQL tidies variables with prettier's JavaScript plugins, 0.5 MB. Its JSON parser can do that too.
      { find: /^prettier\/(plugins\/estree|parser-babel)$/, replacement: fileURLToPath(new URL("src/tidy.ts", import.meta.url)) },
      // The same plugin by its old name.
      { find: /^prettier\/parser-graphql$/, replacement: "prettier/plugins/graphql" },
    ],
  },
  build: {
    // A data: font would need a hole in the policy.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 4000,
    license: { fileName: "assets/licenses.txt" },
    reportCompressedSize: false,
    rolldownOptions: {
      // Libraries say "use client", to servers; there is none here.
      onLog: (level, log, report) => log.code === "MODULE_LEVEL_DIRECTIVE" || report(level, log),
    },
    target: "es2023",
  },
  worker: { format: "es" },
});
