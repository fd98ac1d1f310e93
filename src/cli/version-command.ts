/** `sidetrace version` */
import { rowVersion } from '../output/rows.ts';
import { answerFormat } from './answer.ts';
import type { Describe } from './commands.ts';
import { addDestinationOptions, type DestinationOptions, openDestination } from './destination.ts';
import { COMPLETE } from './exit-code.ts';
import { version } from './version.ts';

export const describeVersion: Describe = (command, finish) => {
  addDestinationOptions(command)
    .option('-o, --format <FORMAT>', 'text or json', 'text')
    .action((options: DestinationOptions & { format: string }) => {
      const format = answerFormat(options.format);
      const { writer } = openDestination(options);
      const { arch, platform, versions } = process;
      const about = { sidetrace: version(), node: versions.node, platform: `${platform}-${arch}`, rows: rowVersion };
      writer.text(
        format === 'json'
          ? `${JSON.stringify(about)}\n`
          : `sidetrace ${about.sidetrace} (Node.js ${about.node}, ${about.platform}, record rows ${about.rows})\n`,
      );
      writer.close();
      finish(COMPLETE);
    });
};
