import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("submissions", "0003_protocol_rows")]
    operations = [
        migrations.AlterField(
            model_name="evaluation",
            name="protocol",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="evaluations",
                to="challenges.protocolversion",
            ),
        ),
        migrations.RemoveField(model_name="evaluation", name="protocol_name"),
    ]
