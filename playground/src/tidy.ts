// A prettier plugin that tidies variables and headers with the JSON parser that GraphiQL has anyway.
import { applyEdits, format } from "jsonc-parser";

type Text = { text: string };

export const parsers = {
  jsonc: {
    parse: (text: string): Text => ({ text }),
    astFormat: "tidy-json",
    locStart: () => 0,
    locEnd: (node: Text) => node.text.length,
  },
};

export const printers = {
  "tidy-json": {
    print: (path: { node: Text }) => {
      const { text } = path.node;
      return applyEdits(text, format(text, undefined, { tabSize: 2, insertSpaces: true, eol: "\n" }));
    },
  },
};
