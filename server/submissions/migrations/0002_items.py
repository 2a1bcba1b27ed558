import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("challenges", "0004_phase_protocol"),
        ("submissions", "0001_initial"),
    ]
    operations = [
        migrations.RenameModel(old_name="ItemScore", new_name="Item"),
        migrations.RenameField(
            model_name="evaluation", old_name="protocol", new_name="protocol_name"
        ),
        migrations.AddField(
            model_name="evaluation",
            name="protocol",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="evaluations",
                to="challenges.protocolversion",
            ),
        ),
    ]
